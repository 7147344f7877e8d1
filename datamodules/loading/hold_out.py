"""Training samples that are held out for validation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hold_out(val_size: int, order: NDArray[np.int64], available: str) -> dict[str, NDArray[np.int64]]:
    """Return the samples for "train" and those for "val", if `val_size` is not 0, each in the data set's own order.

    Args:
        val_size: how many samples of a random order are held out, from its first one on.
        order: all samples, in a random order.
        available: tells in an error what there is.

    Raises:
        ValueError: no sample would be left to train on.

    Example:
        >>> hold_out(2, np.array([4, 2, 3, 1, 0]), "there are 5 photos")
        {'train': array([0, 1, 3]), 'val': array([2, 4])}
    """
    if not 0 <= val_size < len(order):
        raise ValueError(f"val_size is {val_size}, but {available}; pass a smaller one.")
    rows = {"train": np.sort(order[val_size:]), "val": np.sort(order[:val_size])}
    return rows if val_size else {"train": rows["train"]}
