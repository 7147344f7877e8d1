"""Trained sparse networks, small on disk and fast."""

from typing import TYPE_CHECKING

from .model import SparseModel, compile_sparse
from .report import LayerReport, Report

if TYPE_CHECKING:
    from .from_callbacks import SparseState, load_sparse, read_sparse, save_sparse
else:

    def __getattr__(name: str) -> object:
        """Import the readers and the writer of files when they are asked for, as all of callbacks comes with them."""
        if name in __all__:
            from . import from_callbacks

            return getattr(from_callbacks, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
