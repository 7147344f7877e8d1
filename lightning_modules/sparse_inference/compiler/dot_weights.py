"""Weights of a linear layer in the order in which the kernels for one image read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_Packed = tuple[Floats, NDArray[Any], NDArray[np.int32]]  # values, index, pointers


def rows(weight: Floats, dense: bool, *, beyond: int) -> _Packed:
    """Row after row: values, dense or those that are not 0, the column of each, and where each row begins.

    Args:
        weight: (out, in).
        dense: whether zeros are kept; then the columns are not looked at.
        beyond: entries at the end that are read and not used.
    """
    row, column = np.divmod(np.flatnonzero(weight != 0), weight.shape[1])
    pointers = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(weight)))])
    values = weight.ravel() if dense else weight[row, column]
    index = np.pad(column.astype(np.uint16), (0, beyond))
    return np.pad(values, (0, beyond)), index, pointers.astype(np.int32)


def lookups(weight: Floats, lanes: int) -> _Packed:
    """In steps: as many rows at once as there are ``lanes``, block after block of ``2 * lanes`` columns.

    A block takes as many steps as the longest of its rows has values, and one more if that is odd; what others lack
    is 0. Pointers count the steps up to each block.

    Args:
        weight: (out, in).
        lanes: of a vector.

    Returns:
        values and index, place in the block as uint8, both (steps, lanes); pointers.
    """
    height, width = weight.shape
    groups, blocks = -(-height // lanes), -(-width // (2 * lanes))
    row, column = np.nonzero(weight)
    cell = row * blocks + column // (2 * lanes)
    counts = np.bincount(cell, minlength=groups * lanes * blocks)
    steps = counts.reshape(groups, lanes, blocks).max(1)
    pointers = np.concatenate([[0], np.cumsum(steps + steps % 2)])
    before = np.cumsum(counts) - counts  # values of the rows and blocks that come first
    step = np.arange(len(row)) - before[cell] + pointers[row // lanes * blocks + cell % blocks]
    values, index = np.zeros((pointers[-1], lanes), np.float32), np.zeros((pointers[-1], lanes), np.uint8)
    values[step, row % lanes] = weight[row, column]
    index[step, row % lanes] = column % (2 * lanes)
    return values, index, pointers.astype(np.int32)
