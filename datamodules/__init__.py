"""Data modules: each turns one data set on disk into batches for a Trainer."""

from .cifar import CIFAR10DataModule, CIFAR100DataModule
from .imagenet import ImageNetDataModule
from .lsp import LSPDataModule
from .mnist import MNISTDataModule
from .mpii import MPIIDataModule
from .pose_augmentation import PoseAugmentation
from .pose_datamodule import PoseDataModule
from .skeletons import LSP_SKELETON, MPII_SKELETON, Skeleton
from .synthetic_pose import SyntheticPoseDataModule

__all__ = [
    "LSP_SKELETON",
    "MPII_SKELETON",
    "CIFAR10DataModule",
    "CIFAR100DataModule",
    "ImageNetDataModule",
    "LSPDataModule",
    "MNISTDataModule",
    "MPIIDataModule",
    "PoseAugmentation",
    "PoseDataModule",
    "Skeleton",
    "SyntheticPoseDataModule",
]
