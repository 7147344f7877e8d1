"""Sparse training and its monitors as callbacks for any LightningModule."""

from .checkpoint import read_masks
from .dynamic import SET, DynamicSparseTraining, RigL
from .gradient_flow import GradientFlowMonitor
from .hessian import HessianSpectrum, read_spectrum
from .observer import MaskObserver
from .prune_at_start import PruneAtStart
from .pruning import GradualPruning
from .sparse_training import SparseTraining

__all__ = [
    "SET",
    "DynamicSparseTraining",
    "GradientFlowMonitor",
    "GradualPruning",
    "HessianSpectrum",
    "MaskObserver",
    "PruneAtStart",
    "RigL",
    "SparseTraining",
    "read_masks",
    "read_spectrum",
]
