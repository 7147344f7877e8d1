"""Where the active weights of a kernel are, in few bytes: one bit an entry, or Elias-Fano coded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]


# The most entries that one byte of positions may stand for. Without a limit a few bytes could name any number of
# entries, none of them active, and whoever reads them would ask for as much memory.
ENTRIES_PER_BYTE = 2**16


def encode(active: Bools) -> dict[str, Bytes]:
    """The smaller of two codes of a flat mask.

    Returns:
        ``bits``: an entry a bit, the first in the lowest bit of a byte. Or ``high`` and ``low``: of each active
        position, in ascending order, the lowest digits are in ``low``, one row of bits a digit, the lowest first; the
        rest counts the zeros that stand in ``high`` before its one. Bits that fill the last byte are 0. ``bits``
        also where ``high`` and ``low`` would have a byte for more than ``ENTRIES_PER_BYTE`` entries.

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
    size = sum(part.nbytes for part in coded.values())
    return coded if size < bits.nbytes and active.size <= ENTRIES_PER_BYTE * size else {"bits": bits}


def decode(parts: Mapping[str, Bytes], size: int, count: int) -> NDArray[np.int64]:
    """The active positions that :func:`encode` has written, ascending.

    Args:
        parts: what it returned.
        size: entries of the mask.
        count: how many of them are active.

    Raises:
        ValueError: ``parts`` is not what it returns for ``count`` positions in ``size`` entries.
    """
    if "bits" in parts:
        return _ones(parts["bits"], size, count)
    digits, low = low_digits(size, count), parts["low"]
    rows = (digits, -(-count // 8)) if digits else (1, 0)
    if low.dtype != np.uint8 or low.shape != rows:
        raise ValueError(f"low digits {low.dtype} {low.shape} where uint8 {rows} belongs")
    positions = (_ones(parts["high"], count + (size >> digits) + 1, count) - np.arange(count)) << digits
    for digit in range(digits):
        positions |= _unpack(low[digit], count).astype(np.int64) << digit
    if count and not ((np.diff(positions) > 0).all() and positions[-1] < size):
        raise ValueError(f"positions that do not ascend, or not within {size} entries")
    return positions


def low_digits(size: int, count: int) -> int:
    """How many binary digits of a position are written as they are: those of the mean distance."""
    return max((size // max(count, 1)).bit_length() - 1, 0)


_NONE = np.zeros(0, np.uint8)


def _pack(flags: Bools) -> Bytes:
    return np.packbits(flags, bitorder="little")


def _unpack(packed: Bytes, size: int) -> Bools:
    if packed.dtype != np.uint8 or packed.shape != (-(-size // 8),):
        raise ValueError(f"{packed.dtype} {packed.shape} does not hold {size} bits")
    flags = np.unpackbits(packed, bitorder="little").view(np.bool_)
    if flags[size:].any():
        raise ValueError(f"a bit of {packed.size} bytes is set beyond the {size} they hold")
    return flags[:size]


def _ones(packed: Bytes, size: int, count: int) -> NDArray[np.int64]:
    places = np.flatnonzero(_unpack(packed, size)).astype(np.int64, copy=False)
    if places.size != count:
        raise ValueError(f"{places.size} positions where {count} belong")
    return places
