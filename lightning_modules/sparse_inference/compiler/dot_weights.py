"""The weights of a linear layer in the order in which the kernels for one image read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PackedRows = tuple[Floats, NDArray[Any], NDArray[np.int32]]
"""The values, the index and the pointers of a linear layer."""


def rows(weight: Floats, dense: bool, *, beyond: int) -> PackedRows:
    """Return the weights row after row: the values, the column of each, and where each row begins.

    Args:
        weight: the weights, of shape (out, in).
        dense: whether zeros are kept; then the kernels do not read the columns.
        beyond: how many entries at the end are read and not used.
    """
    row, column = np.divmod(np.flatnonzero(weight != 0), weight.shape[1])
    pointers = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(weight)))])
    values = weight.ravel() if dense else weight[row, column]
    index = np.pad(column.astype(np.uint16), (0, beyond))
    return np.pad(values, (0, beyond)), index, pointers.astype(np.int32)


def lookups(weight: Floats, vector_width: int) -> PackedRows:
    """Return the weights in steps, each of one weight in each of ``vector_width`` rows.

    The steps go through blocks of ``2 * vector_width`` columns. A block takes as many steps as the longest of its rows
    has values, and one more if that is odd; shorter rows have zeros. Pointers count the steps up to each block.

    Args:
        weight: the weights, of shape (out, in).
        vector_width: the floats in a vector.

    Returns:
        The values, and as their index the columns in the block as uint8, both of shape (steps, vector_width); the
        pointers.
    """
    height, width = weight.shape
    groups, blocks = -(-height // vector_width), -(-width // (2 * vector_width))
    row, column = np.nonzero(weight)
    cell = row * blocks + column // (2 * vector_width)
    counts = np.bincount(cell, minlength=groups * vector_width * blocks)
    steps = counts.reshape(groups, vector_width, blocks).max(1)
    pointers = np.concatenate([[0], np.cumsum(steps + steps % 2)])
    before = np.cumsum(counts) - counts  # the values in rows and blocks that come first
    step = np.arange(len(row)) - before[cell] + pointers[row // vector_width * blocks + cell % blocks]
    values, index = np.zeros((pointers[-1], vector_width), np.float32), np.zeros((pointers[-1], vector_width), np.uint8)
    values[step, row % vector_width] = weight[row, column]
    index[step, row % vector_width] = column % (2 * vector_width)
    return values, index, pointers.astype(np.int32)
