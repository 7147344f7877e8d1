"""Sparse training and its monitors as callbacks for any LightningModule."""

from .dynamic import SET, DynamicSparseTraining, RigL
from .gradient_flow import GradientFlowMonitor
from .masks_from import read_masks
from .observer import MaskObserver
from .sparse_training import SparseTraining

__all__ = [
    "SET",
    "DynamicSparseTraining",
    "GradientFlowMonitor",
    "MaskObserver",
    "RigL",
    "SparseTraining",
    "read_masks",
]
