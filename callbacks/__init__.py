"""Sparse training and its monitors as callbacks for any LightningModule."""

from .checkpoint import read_masks
from .files.progress import ExactResume
from .files.safe_files import read_checkpoint
from .files.whole_checkpoints import WholeCheckpoints
from .lottery.iterative_pruning import IterativePruning
from .lottery.lottery import LotteryTicket
from .lottery.retraining import (
    FineTuning,
    LearningRateRewinding,
    RandomReinit,
    Retraining,
    ShuffledMask,
    WeightRewinding,
)
from .lottery.rewind import RewindPoint
from .lottery.ticket import Ticket, TicketTraining
from .monitors.gradient_flow import GradientFlowMonitor
from .monitors.hessian import HessianSpectrum, read_spectrum
from .monitors.training_flops import TrainingFlops
from .observer import MaskObserver
from .owner import MaskOwner, mask_owner, masks_of
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
