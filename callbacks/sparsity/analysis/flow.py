"""Gradient flow: how much a step along the gradient can lower the loss."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ..masks.sharding import gather, is_sharded
from ..masks.zeros import BITS, fetch, zero_inactive


@dataclass(frozen=True)
class GradientFlow:
    """The L2 norms (not squared) of a gradient and of its parts.

    Args:
        total: the norm of the whole, dense gradient.
        active: the norm of what moves the network: unmasked entries and all parameters that are not sparse.
        inactive: the norm of the entries outside the masks; total ** 2 = active ** 2 + inactive ** 2.

    Reference:
        Evci et al. 2022, section 3: to first order a step of size eta lowers the loss by
        eta * norm ** 2. Their figures show ``active``.
    """

    total: float
    active: float
    inactive: float


@torch.no_grad()
def gradient_flow(gradients: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, GradientFlow]:
    """Return the gradient flow of every tensor by name, and of all together under the empty name.

    Args:
        gradients: dense gradients by parameter name.
        masks: bool masks of those that are sparse; the others count as active.

    Example:
        >>> flow = gradient_flow({"w": torch.tensor([3.0, 4.0])}, {"w": torch.tensor([True, False])})
        >>> flow[""]
        GradientFlow(total=5.0, active=3.0, inactive=4.0)
    """
    together = [name for name, gradient in gradients.items() if not (name in masks or is_sharded(gradient))]
    active = dict(zip(together, norms_of(_plain(gradients[name]) for name in together), strict=True))
    inactive = {}
    for name, gradient in gradients.items():  # one by one, as these need memory
        if name in masks:
            active[name], inactive[name] = norms_of(_halves(_plain(gradient), masks[name]))
        elif is_sharded(gradient):
            [active[name]] = norms_of([_plain(gradient)])
    norms = iter(fetch([*active.values(), *inactive.values()]))  # in one transfer from a GPU
    moving, hidden = ({name: next(norms) for name in part} for part in (active, inactive))
    flows = {name: _flow([moving[name]], [hidden.get(name, 0.0)]) for name in gradients}
    return {**flows, "": _flow(moving.values(), hidden.values())}


def _flow(active: Iterable[float], inactive: Iterable[float]) -> GradientFlow:
    """Return the gradient flow of parts with these norms of their active and inactive gradients."""
    squares = [sum(norm * norm for norm in norms) for norms in (active, inactive)]
    return GradientFlow(*map(math.sqrt, (sum(squares), *squares)))


def norms_of(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Return the L2 norm of each tensor in single precision at least; a few launches for all that are of one dtype."""
    tensors = list(tensors)
    dtype = reduce(torch.promote_types, {tensor.dtype for tensor in tensors}, torch.float32)
    return torch._foreach_norm(tensors, 2, dtype) if tensors else ()


def _halves(tensor: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return a copy of ``tensor`` that is exactly 0 where ``mask`` is False, and one that is 0 where it is True."""
    active = tensor.clone()
    zero_inactive(active, mask)
    bits = BITS[tensor.element_size()]
    return active, (tensor.view(bits) - active.view(bits)).view(tensor.dtype)


def _plain(gradient: Tensor) -> Tensor:
    """Return the numbers of a gradient as dense real ones: those of an embedding may be sparse, others complex."""
    gradient = gather(gradient.detach())
    if gradient.is_sparse:
        gradient = gradient.coalesce().values()
    return torch.view_as_real(gradient) if gradient.is_complex() else gradient
