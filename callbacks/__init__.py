"""Sparse training and its monitors as callbacks for any LightningModule."""

from .checkpoint import read_masks
from .files import read_checkpoint
from .gradient_flow import GradientFlowMonitor
from .hessian import HessianSpectrum, read_spectrum
from .iterative_pruning import IterativePruning
from .lottery import LotteryTicket
from .observer import MaskObserver
from .owner import MaskOwner, mask_owner, masks_of
from .progress import ExactResume
from .retraining import (
    FineTuning,
    LearningRateRewinding,
    RandomReinit,
    Retraining,
    ShuffledMask,
    WeightRewinding,
)
from .rewind import RewindPoint
from .sparse_training import (
    NM,
    SET,
    SNFS,
    DynamicSparseTraining,
    GradualPruning,
    GraNet,
    PruneAtStart,
    RigL,
    SparseGroups,
    SparseTraining,
    SRigL,
    TopKAST,
)
from .ticket import Ticket, TicketTraining
from .training_flops import TrainingFlops
from .whole_checkpoints import WholeCheckpoints

__all__ = [
    "NM",
    "SET",
    "SNFS",
    "DynamicSparseTraining",
    "ExactResume",
    "FineTuning",
    "GraNet",
    "GradientFlowMonitor",
    "GradualPruning",
    "HessianSpectrum",
    "IterativePruning",
    "LearningRateRewinding",
    "LotteryTicket",
    "MaskObserver",
    "MaskOwner",
    "PruneAtStart",
    "RandomReinit",
    "Retraining",
    "RewindPoint",
    "RigL",
    "SRigL",
    "ShuffledMask",
    "SparseGroups",
    "SparseTraining",
    "Ticket",
    "TicketTraining",
    "TopKAST",
    "TrainingFlops",
    "WeightRewinding",
    "WholeCheckpoints",
    "mask_owner",
    "masks_of",
    "read_checkpoint",
    "read_masks",
    "read_spectrum",
]
