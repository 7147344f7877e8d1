"""Where the active weights of a kernel are, in few bytes: one bit an entry, or Elias-Fano coded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]


def encode(active: Bools) -> dict[str, Bytes]:
    """The smaller of two codes of a flat mask.

    Returns:
        ``bits``: an entry a bit, the first in the lowest bit of a byte. Or ``high`` and ``low``: of each active
        position, in ascending order, the lowest digits are in ``low``, one row of bits a digit, the lowest first; the
        rest counts the zeros that stand in ``high`` before its one.

    Example:
        >>> sorted(encode(np.arange(800) % 50 == 0)), sorted(encode(np.arange(800) % 3 == 0))
        (['high', 'low'], ['bits'])
    """
    positions = np.flatnonzero(active)
    digits = low_digits(active.size, positions.size)
    ends = np.zeros(positions.size + (active.size >> digits) + 1, np.bool_)
    ends[(positions >> digits) + np.arange(positions.size)] = True
    low = np.stack([_pack((positions >> digit & 1).astype(np.bool_)) for digit in range(digits)] or [_NONE])
    coded = {"high": _pack(ends), "low": low}
    bits = _pack(active)
    return coded if sum(part.nbytes for part in coded.values()) < bits.nbytes else {"bits": bits}


def decode(parts: Mapping[str, Bytes], size: int, count: int) -> NDArray[np.int64]:
    """The active positions that :func:`encode` has written, ascending.

    Args:
        parts: what it returned.
        size: entries of the mask.
        count: how many of them are active.

    Raises:
        ValueError: ``parts`` does not hold ``count`` positions in ``size`` entries.
    """
    if "bits" in parts:
        positions = np.flatnonzero(_unpack(parts["bits"], size))
    else:
        digits = low_digits(size, count)
        ends = np.flatnonzero(_unpack(parts["high"], count + (size >> digits) + 1))
        if digits and parts["low"].shape[:1] != (digits,):
            raise ValueError(f"low digits {parts['low'].shape} where {digits} rows belong")
        positions = (ends - np.arange(ends.size)) << digits
        for digit in range(digits):
            positions[:count] |= _unpack(parts["low"][digit], count)[: ends.size].astype(np.int64) << digit
    ascending = positions.size < 2 or bool((np.diff(positions) > 0).all())
    if positions.size != count or not ascending or (count and positions[-1] >= size):
        raise ValueError(f"{positions.size} positions where {count} belong in {size} entries")
    return positions.astype(np.int64, copy=False)


def low_digits(size: int, count: int) -> int:
    """How many binary digits of a position are written as they are: those of the mean distance."""
    return max((size // max(count, 1)).bit_length() - 1, 0)


_NONE = np.zeros(0, np.uint8)


def _pack(flags: Bools) -> Bytes:
    return np.packbits(flags, bitorder="little")


def _unpack(packed: Bytes, size: int) -> Bools:
    if packed.dtype != np.uint8 or packed.shape != (-(-size // 8),):
        raise ValueError(f"{packed.dtype} {packed.shape} does not hold {size} bits")
    return np.unpackbits(packed, count=size, bitorder="little").view(np.bool_)
