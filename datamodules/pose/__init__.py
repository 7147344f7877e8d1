"""Human poses: annotated people as crops with their joints."""

from .augmentation import PoseAugmentation
from .datamodule import PoseDataModule
from .lsp import LSPDataModule
from .mpii import MPIIDataModule
from .skeletons import LSP_SKELETON, MPII_SKELETON, Skeleton
from .synthetic import SyntheticPoseDataModule

__all__ = [
    "LSP_SKELETON",
    "MPII_SKELETON",
    "LSPDataModule",
    "MPIIDataModule",
    "PoseAugmentation",
    "PoseDataModule",
    "Skeleton",
    "SyntheticPoseDataModule",
]
