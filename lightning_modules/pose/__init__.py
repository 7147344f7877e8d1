"""Human poses: the estimator that is trained, its heatmaps and decoders, and the scores of what it finds."""

from .decoders import DARK, Argmax, Decoder, QuarterOffset, SoftArgmax
from .estimator import PartBasedPoseEstimator, PoseBatch
from .metrics import AUC, PCK, PCKh

__all__ = [
    "AUC",
    "DARK",
    "PCK",
    "Argmax",
    "Decoder",
    "PCKh",
    "PartBasedPoseEstimator",
    "PoseBatch",
    "QuarterOffset",
    "SoftArgmax",
]
