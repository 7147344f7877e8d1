"""The packed format: files of sparse networks, with the values of active weights and where these weights are.

A file is in the safetensors format. A tensor is there under its own name, or, if it is a sparse weight, in parts: under
``<name>::values`` its active entries in order, and under ``<name>::bits``, or ``<name>::high`` and ``<name>::low``,
where they are (:func:`.positions.encode`). The metadata has these entries:

- ``format``: the name and version of the format;
- ``shapes``: as JSON, the shape of each sparse weight;
- ``same``: as JSON, the names of tensors that are others under a second name, and the names of those;
- ``checksums``: as JSON, the CRC-32 of each tensor's name, type, shape and bytes;
- ``checksum``: the CRC-32 of the texts of ``shapes``, ``same`` and ``checksums``.

Files of version 1 have no ``checksums``, so that it cannot be told whether their values are those that were saved.
Their ``checksum``, which the oldest lack, is of ``shapes``, ``same`` and all parts that say where weights are.
"""

from .reader import SparseState, is_packed, load_sparse, read_packed_masks, read_sparse
from .writer import save_sparse

__all__ = ["SparseState", "is_packed", "load_sparse", "read_packed_masks", "read_sparse", "save_sparse"]
