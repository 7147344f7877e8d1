"""Weights that FSDP2 shards over processes: the shard of a tensor on this process, and the whole tensor.

Masks are whole on every process, a byte a weight. The weight and the gradient of a layer are gathered for
a decision, one layer at a time, so that every process decides alike; its result is applied to the local shard.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate, Shard

from .sparse_weight import SparseWeight


def is_sharded(tensor: Tensor) -> bool:
    """Return whether the tensor is spread over processes."""
    return isinstance(tensor, DTensor)


def gather(tensor: Tensor) -> Tensor:
    """Return the whole of a tensor; to be called on all processes that share it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_weight(weight: SparseWeight) -> SparseWeight:
    """Return the same weight with all of its values."""
    if not is_sharded(weight.parameter):
        return weight
    return replace(weight, parameter=nn.Parameter(gather(weight.parameter.detach()), requires_grad=False))


def local_shard(tensor: Tensor) -> Tensor:
    """Return the shard of a tensor on this process: a view, so that what is written into it stays."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: Tensor, shards: Tensor) -> Tensor:
    """Return the part of a whole ``tensor`` that belongs to this process's shard of ``shards``, of the same shape."""
    if not isinstance(shards, DTensor) or not isinstance(cut := shards.placements[0], Shard):
        return tensor
    parts = tensor.chunk(shards.device_mesh.size(), cut.dim)
    rank = shards.device_mesh.get_local_rank()
    return parts[rank] if rank < len(parts) else tensor.narrow(cut.dim, 0, 0)


@torch.no_grad()
def write(target: Tensor, values: Tensor) -> None:
    """Copy whole ``values`` into a tensor, or the part of them that belongs to this process into its shard."""
    local_shard(target).copy_(shard_like(values, target))


def nonzero_entries(tensor: Tensor) -> Tensor:
    """Return the number of entries that are not 0, over all processes."""
    if isinstance(tensor, DTensor):
        return total(local_shard(tensor.detach()).count_nonzero(), tensor)
    return tensor.count_nonzero()


def agreed(holds_here: bool, weights: Iterable[Tensor]) -> bool:
    """Return whether something holds on all processes that share the first sharded one of some weights."""
    shards = next(filter(is_sharded, weights), None)
    if shards is None:
        return holds_here
    return not int(total(torch.tensor(not holds_here, dtype=torch.int64, device=shards.device), shards))


def refusal(tensor: Tensor) -> str:
    """Return why a tensor cannot be masked: nothing if it is whole, or cut along one dimension over one group."""
    if not isinstance(tensor, DTensor):
        return ""
    if tensor.device_mesh.ndim > 1:
        return f"is spread over a mesh of {tensor.device_mesh.ndim} dimensions"
    if type(tensor.placements[0]) not in (Shard, Replicate):
        return f"is placed as {tensor.placements[0]}"
    return ""


def total(count: Tensor, shards: Tensor) -> Tensor:
    """Return the sum of ``count`` over the processes that hold shards of a tensor."""
    if isinstance(shards, DTensor) and isinstance(shards.placements[0], Shard):
        count = count.clone()
        torch.distributed.all_reduce(count, group=shards.device_mesh.get_group())
    return count
