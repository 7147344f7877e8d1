"""Sparse training and its monitors as callbacks for any LightningModule."""

from .checkpoint import read_masks
from .dynamic import SET, DynamicSparseTraining, RigL
from .files import read_checkpoint
from .gradient_flow import GradientFlowMonitor
from .iterative_pruning import IterativePruning
from .lottery import LotteryTicket
from .observer import MaskObserver
from .prune_at_start import PruneAtStart
from .pruning import GradualPruning
from .retraining import (
    FineTuning,
    LearningRateRewinding,
    RandomReinit,
    Retraining,
    ShuffledMask,
    WeightRewinding,
)
from .rewind import RewindPoint
from .sparse_training import SparseTraining
from .ticket import Ticket, TicketTraining

__all__ = [
    "SET",
    "DynamicSparseTraining",
    "FineTuning",
    "GradientFlowMonitor",
    "GradualPruning",
    "IterativePruning",
    "LearningRateRewinding",
    "LotteryTicket",
    "MaskObserver",
    "PruneAtStart",
    "RandomReinit",
    "Retraining",
    "RewindPoint",
    "RigL",
    "ShuffledMask",
    "SparseTraining",
    "Ticket",
    "TicketTraining",
    "WeightRewinding",
    "read_checkpoint",
    "read_masks",
]
