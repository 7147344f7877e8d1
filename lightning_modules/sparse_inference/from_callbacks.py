"""What sparse inference takes from the neighbouring library: the packed format, and files that are whole.

No other module of this library imports ``callbacks``. It lies beside ``lightning_modules``: at the top in a checkout,
in ``sparse_lightning`` where it is installed.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING or __name__.count(".") == 2:
    from callbacks.files.safe_files import whole_file
    from callbacks.packed import SparseState, load_sparse, read_sparse, save_sparse
else:
    from ...callbacks.files.safe_files import whole_file
    from ...callbacks.packed import SparseState, load_sparse, read_sparse, save_sparse

__all__ = ["SparseState", "load_sparse", "read_sparse", "save_sparse", "whole_file"]
