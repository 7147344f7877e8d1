"""Data modules: each turns one data set on disk into batches for a Trainer."""

from .mnist import MNISTDataModule

__all__ = ["MNISTDataModule"]
