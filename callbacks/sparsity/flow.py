"""Gradient flow: how much a step along the gradient can lower the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .masks import zero_inactive
from .sharding import whole


@dataclass(frozen=True)
class GradientFlow:
    """L2 norms (not squared) of a gradient.

    Args:
        total: of the whole, dense gradient.
        active: of what moves the network: unmasked entries and all parameters that are not sparse.
        inactive: of the entries outside the masks; total ** 2 = active ** 2 + inactive ** 2.

    Reference:
        Evci et al. 2022, section 3: to first order a step of size eta lowers the loss by
        eta * norm ** 2. Their figures show ``active``.
    """

    total: float
    active: float
    inactive: float


@torch.no_grad()
def gradient_flow(gradients: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, GradientFlow]:
    """The gradient flow of every tensor by name, and of all together under the empty name.

    Args:
        gradients: dense gradients by parameter name.
        masks: bool masks of those that are sparse; the others count as active.

    Example:
        >>> flow = gradient_flow({"w": torch.tensor([3.0, 4.0])}, {"w": torch.tensor([True, False])})
        >>> flow[""]
        GradientFlow(total=5.0, active=3.0, inactive=4.0)
    """
    squares = []
    for name, gradient in gradients.items():
        active, inactive = _plain(gradient), None
        if name in masks:
            active, inactive = active.clone(), active.clone()
            zero_inactive(active, masks[name])
            zero_inactive(inactive, ~masks[name])
        norms = [
            torch.linalg.vector_norm(part) if part is not None else active.new_zeros(()) for part in (active, inactive)
        ]
        squares.append(torch.stack(norms).double() ** 2)
    if not squares:
        return {"": GradientFlow(0.0, 0.0, 0.0)}
    table = torch.stack([*squares, torch.stack(squares).sum(0)]).cpu()  # one transfer
    return {
        name: GradientFlow(float(row.sum().sqrt()), *map(float, row.sqrt()))
        for name, row in zip([*gradients, ""], table, strict=True)
    }


def _plain(gradient: Tensor) -> Tensor:
    """The numbers of a gradient as dense real floats: those of an embedding may be sparse, others complex."""
    gradient = whole(gradient.detach())
    if gradient.is_sparse:
        gradient = gradient.coalesce().values()
    return (torch.view_as_real(gradient) if gradient.is_complex() else gradient).float()
