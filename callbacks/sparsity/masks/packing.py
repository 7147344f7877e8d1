"""Masks of one bit an entry."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def pack(mask: Tensor) -> Tensor:
    """Pack a bool tensor into uint8, eight entries a byte, the first in the lowest bit.

    Example:
        >>> pack(torch.tensor([True, False, True]))
        tensor([5], dtype=torch.uint8)
    """
    eight = torch.nn.functional.pad(mask.flatten().view(torch.uint8), (0, -mask.numel() % 8)).view(torch.int64)
    # the product moves bit 0 of byte i to bit 56 + i, in byte 7, and no two of its terms meet
    return (eight * 0x0102040810204080).view(torch.uint8)[7::8].clone()


def unpack(packed: Tensor, shape: torch.Size) -> Tensor:
    """Unpack what :func:`pack` has packed.

    Raises:
        ValueError: ``packed`` does not hold as many entries as ``shape``, each in memory of its own, or holds more.
    """
    size = math.prod(shape)  # in Python's numbers, which do not overflow
    held = not packed.is_meta and packed.is_contiguous()  # else one byte could stand for many
    if packed.dtype != torch.uint8 or packed.shape != (-(-size // 8),) or not held:
        raise ValueError(
            f"packed mask {packed.dtype} {tuple(packed.shape)} does not hold {size} entries of {tuple(shape)}"
        )
    bits = torch.arange(8, dtype=torch.uint8, device=packed.device)
    flags = ((packed[:, None] >> bits) & 1).flatten().bool()
    if bool(flags[size:].any()):
        raise ValueError(f"a bit of {len(packed)} bytes is set beyond the {size} entries they hold")
    return flags[:size].view(shape)
