"""LightningModules: what is trained and how it is scored."""

from .classifier import SparseClassifier
from .decoders import DARK, Argmax, Decoder, QuarterOffset, SoftArgmax
from .learning_rates import WarmUpCosine, WarmUpSteps
from .pose_estimator import PartBasedPoseEstimator
from .pose_metrics import AUC, PCK, PCKh

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
