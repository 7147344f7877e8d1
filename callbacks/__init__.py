"""Sparse training and its monitors as callbacks for any LightningModule."""

from .checkpoint import read_masks
from .dynamic import SET, DynamicSparseTraining, RigL
from .files import read_checkpoint
from .gradient_flow import GradientFlowMonitor
from .granet import GraNet
from .groups import SparseGroups
from .hessian import HessianSpectrum, read_spectrum
from .iterative_pruning import IterativePruning
from .lottery import LotteryTicket
from .observer import MaskObserver
from .owner import MaskOwner
from .progress import ExactResume
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
from .snfs import SNFS
from .sparse_training import SparseTraining
from .structured import NM, SRigL
from .ticket import Ticket, TicketTraining
from .top_kast import TopKAST
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
    "read_checkpoint",
    "read_masks",
    "read_spectrum",
]
