"""Sparse training and its monitors as callbacks for any LightningModule."""

from typing import TYPE_CHECKING, Any

from .checkpoint import read_masks
from .files.progress import ExactResume
from .files.whole_checkpoints import WholeCheckpoints
from .lottery.iterative_pruning import IterativePruning
from .lottery.lottery import LotteryTicket
from .lottery.retraining import (
    FineTuning,
    LearningRateRewinding,
    RandomReinit,
    ShuffledMask,
    WeightRewinding,
)
from .lottery.rewind import RewindPoint
from .lottery.ticket import Ticket
from .monitors.gradient_flow import GradientFlowMonitor
from .monitors.hessian import HessianSpectrum, read_spectrum
from .monitors.training_flops import TrainingFlops
from .observer import MaskObserver
from .owner import MaskOwner
from .owner_of import mask_owner, masks_of
from .signatures import deprecated as deprecated  # which jsonargparse looks into
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
from .sparsity.old_names import look_up

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
    "RewindPoint",
    "RigL",
    "SRigL",
    "ShuffledMask",
    "SparseGroups",
    "SparseTraining",
    "Ticket",
    "TopKAST",
    "TrainingFlops",
    "WeightRewinding",
    "WholeCheckpoints",
    "mask_owner",
    "masks_of",
    "read_masks",
    "read_spectrum",
]

HIDDEN = {  # what only the package itself uses, and where it is
    "Retraining": "lottery.retraining.RetrainingMethod",
    "TicketTraining": "lottery.ticket.TicketOwner",
    "read_checkpoint": "files.safe_files.read_checkpoint",
}
FILES = (  # that these classes were in, in YAML of earlier releases
    *("dynamic", "gradient_flow", "granet", "groups", "hessian", "iterative_pruning", "progress", "prune_at_start"),
    *("pruning", "retraining", "rewind", "snfs", "structured", "ticket", "top_kast", "training_flops"),
    "whole_checkpoints",
)

if not TYPE_CHECKING:  # to a type checker an old name is an error, and so is one that never was

    def __getattr__(name: str) -> Any:
        return look_up(__name__, name, HIDDEN | dict.fromkeys(FILES, ""))
