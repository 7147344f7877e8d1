"""TopKAST: weights outside the mask train too, and come in when they are large."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..sparsity import Initialization, KeepValues, Masks, UpdateWindow, top_k
from .layers import Layers
from .method import FirstLook, Method, Moment, shapes_of


@dataclass(frozen=True, kw_only=True)
class TopKAST(Method):
    """Keep the largest weights of each layer active, and train those next in size behind the scenes.

    The forward pass sees the set A, the largest magnitudes of each layer; the optimizer moves a wider set B with the
    dense gradient, momentum and weight decay included. At every update A and B are chosen anew by magnitude.
    Weights outside A are exactly 0 in the module: their values wait in ``reservoir``, come back for the time between
    ``on_before_optimizer_step`` and the end of the optimizer's step, and leave again, so that forward passes,
    validation and checkpoints see A alone. Weights outside B keep the value they have.

    Two promises of the other methods therefore read differently: a weight that becomes active comes with the value
    it has in the reservoir, not with 0; and optimizer state is cleared where a weight leaves B, not A. When the window
    ends no weight can become active any more: B shrinks to A and the reservoir is given up.

    An update comes before the optimizer's step, so A follows the weights with one step of delay. A weight that goes on
    from another method's checkpoint finds an empty reservoir.

    Args:
        sparsity: fraction of zeros in the forward pass, over all selected weights, in [0, 1). Arguments that are not
            named here are as in :class:`Method`.
        exploration: share of all weights that are trained besides the active ones (M of the paper), in [0, 1];
            the backward pass has sparsity ``sparsity - exploration``, or 0.
        regularization: factor of the exploration loss, 0 or more. That is the sum of magnitudes over A plus the one
            over the rest of B, the latter divided by the density of the layer. Its gradient is added to that of the
            loss, before clipping; the loss that the module reports is without it.
        window: when to choose A and B anew.
        initialization: first values of A; all others keep the values the module has.

    Raises:
        ValueError: ``exploration`` or ``regularization`` is out of range; and as :class:`Method`.

    Reference:
        Jayakumar et al. 2020, "Top-KAST: Top-K Always Sparse Training", whose ResNet-50 with 90 % (80 %) sparsity has
        exploration 0.1 (0.3). The authors keep the reservoir and the choice of A off the accelerator and the backward
        pass sparse; here, as everywhere in this project, gradients are dense and the gain is in what is learned.

    Example:
        >>> TopKAST(0.8, exploration=0.3).window
        UpdateWindow(every=100, start=0.0, stop=1.0)
    """

    exploration: float = 0.1
    regularization: float = 1e-4
    window: UpdateWindow = UpdateWindow(stop=1.0)
    initialization: Initialization = KeepValues()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.exploration <= 1:
            raise ValueError(f"exploration is {self.exploration}; it is a share of all weights in [0, 1]")
        if not 0 <= self.regularization < math.inf:
            raise ValueError(f"regularization is {self.regularization}; it is a factor of 0 or more")

    def first_masks(self, layers: Layers, look: FirstLook) -> Masks:
        return Masks({name: _largest(weight, layers.target[name]) for name, weight in layers.weights.items()})

    def gives_up(self, step: int, total_steps: float) -> bool:
        """Return whether the time of exploring is over."""
        return self.window.progress(step, total_steps) >= 1

    def new_masks(self, layers: Layers, weights: Mapping[str, nn.Parameter], moment: Moment) -> dict[str, Tensor]:
        exploring = [name for name in weights if name in layers.memory["reservoir"]]
        active = {name: _largest(all_values(layers, name), layers.target[name]) for name in exploring}
        layers.memory["trained"].update(self.trained(layers, active))
        return active

    def trained(self, layers: Layers, active: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sets B of some layers: what is in ``active``, their sets A, and the largest of the others."""
        shapes = shapes_of(layers.selected)
        wider, trained = self.distribution(shapes, max(self.sparsity - self.exploration, 0.0)), {}
        for name, mask in active.items():
            others = max(wider[name] - int(mask.count_nonzero()), 0)
            trained[name] = mask | top_k(all_values(layers, name).abs(), others, ~mask)
        return trained


def all_values(layers: Layers, name: str) -> Tensor:
    """Return all values of a weight: active ones are in the module, others wait in the reservoir."""
    return torch.where(layers.masks[name], layers.weights[name].detach(), layers.memory["reservoir"][name])


def _largest(weight: Tensor, count: int) -> Tensor:
    magnitude = weight.detach().abs()
    return top_k(magnitude, count, torch.ones_like(magnitude, dtype=torch.bool))
