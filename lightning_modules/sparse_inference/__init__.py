"""Trained sparse networks, small on disk and fast."""

from .model import SparseModel, compile_sparse
from .packed_file import SparseState, load_sparse, read_sparse, save_sparse
from .report import LayerReport, Report

__all__ = [
    "LayerReport",
    "Report",
    "SparseModel",
    "SparseState",
    "compile_sparse",
    "load_sparse",
    "read_sparse",
    "save_sparse",
]
