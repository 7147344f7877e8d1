"""The methods of sparse training, as values without a Trainer: each says what it decides, and nothing else."""

from .dynamic import SET, DynamicSparseTraining, RigL
from .gradual_pruning import GradualPruning
from .granet import GraNet
from .layers import Layers
from .method import FirstLook, Method, Moment, SparseTraining
from .n_of_m import NM
from .prune_at_start import PruneAtStart
from .snfs import SNFS
from .srigl import SRigL
from .top_kast import TopKAST

__all__ = [
    "NM",
    "SET",
    "SNFS",
    "DynamicSparseTraining",
    "FirstLook",
    "GraNet",
    "GradualPruning",
    "Layers",
    "Method",
    "Moment",
    "PruneAtStart",
    "RigL",
    "SRigL",
    "SparseTraining",
    "TopKAST",
]
