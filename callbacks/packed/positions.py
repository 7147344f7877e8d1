"""The code of the positions of active entries, in few bytes: one bit an entry, or Elias-Fano."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..sparsity.masks.packing import pack, unpack

CODES = ("bits", "high", "low")

# The most entries that one byte of positions may stand for. Without a limit a few bytes could name any number of
# entries, none of them active, and whoever reads them would ask for as much memory.
ENTRIES_PER_BYTE = 2**16


def encode(active: Tensor) -> dict[str, Tensor]:
    """Return the smaller of two codes of a flat mask.

    Returns:
        ``bits``: one bit an entry, the first in the lowest bit of a byte. Or ``high`` and ``low``: of each active
        position, in ascending order, the lowest digits are in ``low``, one row of bits a digit, the lowest first; the
        rest counts the zeros that stand in ``high`` before its one. Bits that fill the last byte are 0. ``bits`` is
        also returned where ``high`` and ``low`` would have a byte for more than ``ENTRIES_PER_BYTE`` entries.

    Example:
        >>> sorted(encode(torch.arange(800) % 50 == 0)), sorted(encode(torch.arange(800) % 3 == 0))
        (['high', 'low'], ['bits'])
    """
    size, positions = len(active), active.nonzero().flatten()
    count = len(positions)
    digits = _low_digits(size, count)
    ends = torch.zeros(count + (size >> digits) + 1, dtype=torch.bool, device="cpu")
    ends[(positions >> digits) + torch.arange(count, device="cpu")] = True
    rows = [pack((positions >> digit & 1).bool()) for digit in range(digits)]
    low = torch.stack(rows or [torch.zeros(0, dtype=torch.uint8, device="cpu")])
    coded, bits = {"high": pack(ends), "low": low}, pack(active)
    nbytes = sum(code.nbytes for code in coded.values())
    return coded if nbytes < bits.nbytes and size <= ENTRIES_PER_BYTE * nbytes else {"bits": bits}


def decode(codes: Mapping[str, Tensor], size: int, count: int) -> Tensor:
    """Return the active positions that :func:`encode` has written, in ascending order.

    Args:
        codes: what :func:`encode` returned.
        size: the number of entries of the mask.
        count: the number of active entries.

    Raises:
        ValueError: ``codes`` is not what :func:`encode` returns for ``count`` positions in ``size`` entries.
    """
    if "bits" in codes:
        return _ones(codes["bits"], size, count)
    digits, low = _low_digits(size, count), codes["low"]
    rows = (digits, -(-count // 8)) if digits else (1, 0)
    if low.dtype != torch.uint8 or low.shape != rows:
        raise ValueError(f"low digits {low.dtype} {tuple(low.shape)} where uint8 {rows} belongs")
    ends = _ones(codes["high"], count + (size >> digits) + 1, count)
    positions = (ends - torch.arange(count, device="cpu")) << digits
    for digit in range(digits):
        positions |= unpack(low[digit], torch.Size([count])).long() << digit
    if count and not (bool((positions.diff() > 0).all()) and int(positions[-1]) < size):
        raise ValueError(f"positions that do not ascend, or not within {size} entries")
    return positions


def _low_digits(size: int, count: int) -> int:
    """Return how many binary digits of a position are written as they are: those of the mean distance."""
    return max((size // max(count, 1)).bit_length() - 1, 0)


def _ones(packed: Tensor, size: int, count: int) -> Tensor:
    """Return the positions of the bits that are 1."""
    positions = unpack(packed, torch.Size([size])).nonzero().flatten()
    if len(positions) != count:
        raise ValueError(f"{len(positions)} positions where {count} belong")
    return positions
