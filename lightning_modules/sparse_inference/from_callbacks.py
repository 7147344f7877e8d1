"""What sparse inference takes from the neighbouring library: the packed format, and files that are whole.

No other module of this library imports ``callbacks``. Who has the folders under other names changes this file alone.
"""

from callbacks.files.safe_files import whole_file
from callbacks.packed import SparseState, load_sparse, read_sparse, save_sparse

__all__ = ["SparseState", "load_sparse", "read_sparse", "save_sparse", "whole_file"]
