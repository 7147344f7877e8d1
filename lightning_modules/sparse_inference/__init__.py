"""Trained sparse networks, small on disk and fast."""

from .packed_file import SparseState, load_sparse, read_sparse, save_sparse

__all__ = ["SparseState", "load_sparse", "read_sparse", "save_sparse"]
