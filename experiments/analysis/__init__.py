"""Analysis of solutions: where trained weights lie, what lies between them, and how their predictions differ."""

from .agreement import (
    Spread,
    accuracy,
    disagreement,
    ensemble_accuracy,
    js_divergence,
    kl_divergence,
    over_pairs,
    to_reference,
)
from .curves import Curve, loss_along_curve, train_curve
from .distances import Map, cosine_distances, l2_distances, mds_map
from .evaluation import LossProfile, evaluate, re_estimate_norms
from .interpolation import barrier, loss_along_line
from .solutions import check_same_masks, check_solution

__all__ = [
    "Curve",
    "LossProfile",
    "Map",
    "Spread",
    "accuracy",
    "barrier",
    "check_same_masks",
    "check_solution",
    "cosine_distances",
    "disagreement",
    "ensemble_accuracy",
    "evaluate",
    "js_divergence",
    "kl_divergence",
    "l2_distances",
    "loss_along_curve",
    "loss_along_line",
    "mds_map",
    "over_pairs",
    "re_estimate_norms",
    "to_reference",
    "train_curve",
]
