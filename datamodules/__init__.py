"""Data modules: each turns one data set on disk into batches for a Trainer."""

from .cifar.datamodule import CIFAR10DataModule, CIFAR100DataModule
from .imagenet.datamodule import ImageNetDataModule
from .mnist import MNISTDataModule
from .pose.augmentation import PoseAugmentation
from .pose.datamodule import PoseDataModule
from .pose.lsp import LSPDataModule
from .pose.mpii import MPIIDataModule
from .pose.skeletons import LSP_SKELETON, MPII_SKELETON, Skeleton
from .pose.synthetic import SyntheticPoseDataModule

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
