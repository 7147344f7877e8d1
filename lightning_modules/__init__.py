"""Modules of PyTorch Lightning: what is trained and how it is scored."""

from .classifier import SparseClassifier
from .learning_rates import WarmUpCosine, WarmUpSteps
from .pose.decoders import DARK, Argmax, Decoder, QuarterOffset, SoftArgmax
from .pose.estimator import PartBasedPoseEstimator
from .pose.metrics import AUC, PCK, PCKh

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
