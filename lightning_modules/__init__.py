"""LightningModules: what is trained and how it is scored."""

from .classifier import SparseClassifier

__all__ = ["SparseClassifier"]
