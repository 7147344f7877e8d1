"""LightningModules: what is trained and how it is scored."""

from .classifier import SparseClassifier
from .learning_rates import WarmUpCosine, WarmUpSteps
from .pose import AUC, DARK, PCK, Argmax, Decoder, PartBasedPoseEstimator, PCKh, QuarterOffset, SoftArgmax

__all__ = [
    "AUC",
    "DARK",
    "PCK",
    "Argmax",
    "Decoder",
    "PCKh",
    "PartBasedPoseEstimator",
    "QuarterOffset",
    "SoftArgmax",
    "SparseClassifier",
    "WarmUpCosine",
    "WarmUpSteps",
]
