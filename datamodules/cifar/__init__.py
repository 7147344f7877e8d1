"""CIFAR-10 and CIFAR-100: small pictures that stay in memory."""

from .datamodule import CIFAR10DataModule, CIFAR100DataModule

__all__ = ["CIFAR10DataModule", "CIFAR100DataModule"]
