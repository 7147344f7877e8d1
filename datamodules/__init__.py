"""Data modules: each turns one data set on disk into batches for a Trainer."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cifar.datamodule import CIFAR10DataModule, CIFAR100DataModule
    from .imagenet.datamodule import ImageNetDataModule
    from .mnist import MNISTDataModule
    from .pose.augmentation import PoseAugmentation
    from .pose.datamodule import PoseDataModule
    from .pose.lsp import LSPDataModule
    from .pose.mpii import MPIIDataModule
    from .pose.skeletons import LSP_SKELETON, MPII_SKELETON, Skeleton
    from .pose.synthetic import SyntheticPoseDataModule

# Each is imported when it is asked for: photos need libraries that other data sets do not need.
_PLACES = {
    "cifar.datamodule": ("CIFAR10DataModule", "CIFAR100DataModule"),
    "imagenet.datamodule": ("ImageNetDataModule",),
    "mnist": ("MNISTDataModule",),
    "pose.augmentation": ("PoseAugmentation",),
    "pose.datamodule": ("PoseDataModule",),
    "pose.lsp": ("LSPDataModule",),
    "pose.mpii": ("MPIIDataModule",),
    "pose.skeletons": ("LSP_SKELETON", "MPII_SKELETON", "Skeleton"),
    "pose.synthetic": ("SyntheticPoseDataModule",),
}

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


def __getattr__(name: str) -> object:
    """Import the module that a name is in."""
    for place, names in _PLACES.items():
        if name in names:
            globals()[name] = getattr(importlib.import_module(f".{place}", __name__), name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
