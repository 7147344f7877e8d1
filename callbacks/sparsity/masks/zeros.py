"""Zeros where a mask is False: set, and counted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from .sharding import local_shard, shard_like, total

BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_PIECE = 2**18


def zero_inactive(tensor: Tensor, mask: Tensor) -> None:
    """Set ``tensor`` to exactly +0 where ``mask`` is False, in place, whatever is there.

    Multiplies the bits as whole numbers: unlike a product of floats this turns NaN and infinity into 0,
    and it takes less than half the time of ``masked_fill_``. Of a tensor that is sharded over processes the
    part that is here is set.
    """
    if isinstance(tensor, DTensor):
        tensor, mask = local_shard(tensor), shard_like(mask, tensor)
    bits = tensor.view(BITS[tensor.element_size()])
    if bits.numel() > _PIECE and bits.device.type == "cpu":
        # the mask is widened to the type of the bits on the way: piece by piece that stays in the cache
        rows = max(1, _PIECE * len(bits) // bits.numel())
        for piece, kept in zip(torch.split(bits, rows), torch.split(mask, rows), strict=True):
            piece.mul_(kept)
    else:
        bits.mul_(mask)


def count_outside(tensors: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> int:
    """Return how many entries of ``tensors``, over all processes, are not 0 where the masks of their names are False.

    The masks may be on any device.
    """
    counts = []
    for name in tensors:
        tensor, mask = tensors[name].detach(), masks[name]
        if isinstance(tensor, DTensor):
            outside = local_shard(tensor).bool() > shard_like(mask.to(tensor.device), tensor)
            counts.append(total(outside.count_nonzero(), tensor))
        else:
            counts.append((tensor.bool() > mask.to(tensor.device)).count_nonzero())
    return sum(fetch(counts))


def fetch(numbers: Iterable[Tensor]) -> list[Any]:
    """Return tensors of one number each as Python's numbers, in one transfer: each look at a GPU waits for it.

    Example:
        >>> fetch([torch.tensor(3), torch.tensor([True, False]).count_nonzero()])
        [3, 1]
    """
    fetched: list[Tensor] = []
    for number in numbers:
        fetched.append(number.to(fetched[0].device) if fetched else number)
    return torch.stack(fetched).tolist() if fetched else []


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Return whether all entries are finite numbers."""
    # a norm passes NaN and infinity on; it may also overflow, so that a second look decides
    norms = torch._foreach_norm(list(tensors), 2) if tensors else ()
    return all(map(math.isfinite, fetch(norms))) or all(fetch([tensor.isfinite().all() for tensor in tensors]))
