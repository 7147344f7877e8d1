"""The initialization of sparse weights: their first values, now that most of their neighbours are gone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..masks.sparse_weight import SparseWeight


class Initialization(ABC):
    """A rule that gives a masked weight its first values."""

    @abstractmethod
    def __call__(self, weight: SparseWeight, mask: Tensor, generator: torch.Generator) -> Tensor:
        """Return new values of the weight's shape, device and dtype, exactly 0 where ``mask`` is False.

        Args:
            weight: the weight as its layer initialised it, dense.
            mask: bool of the same shape, True = active.
            generator: a CPU generator.
        """


@dataclass(frozen=True)
class KeepValues(Initialization):
    """Keep the values the layer was made, or loaded, with: "masked dense" in the paper."""

    def __call__(self, weight: SparseWeight, mask: Tensor, generator: torch.Generator) -> Tensor:
        return weight.parameter.detach().masked_fill(~mask, 0)


@dataclass(frozen=True)
class LayerScaled(Initialization):
    """Divide the dense values by sqrt(density of the layer): one factor a layer.

    Reference:
        Liu et al. 2019, "Rethinking the Value of Network Pruning".
    """

    def __call__(self, weight: SparseWeight, mask: Tensor, generator: torch.Generator) -> Tensor:
        density = mask.float().mean().clamp_min(1 / mask.numel())
        return (weight.parameter.detach() / density.sqrt()).masked_fill_(~mask, 0)


@dataclass(frozen=True)
class UnitScaled(Initialization):
    """The sparsity-aware initialization: the variance of a weight follows the unit it feeds.

    Draws every active weight anew, with variance ``scale / n``, where n counts the unmasked
    connections: into the output unit (``fan_in``), out of the input unit (``fan_out``), or the mean of
    the two (``fan_avg``). Kernel taps count one by one. A unit without connections stays all zero.
    With a full mask the defaults are He's initialization.

    Args:
        mode: which connections n counts.
        distribution: ``"normal"`` is N(0, variance), not truncated; ``"uniform"`` is
            U(-sqrt(3 variance), sqrt(3 variance)).
        scale: 2 for ReLU (He); 1 with ``fan_avg`` and ``uniform`` is Glorot.

    Raises:
        ValueError: ``mode``, ``distribution`` or ``scale`` is none of these.

    Reference:
        Evci et al. 2022 (Gradient Flow in Sparse Neural Networks), section 3.1:
        w_ij ~ N(0, 2 / fan_in_i). The second argument is a variance.
    """

    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in"
    distribution: Literal["normal", "uniform"] = "normal"
    scale: float = 2.0

    def __post_init__(self) -> None:
        if self.mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"UnitScaled.mode is {self.mode!r}; choose fan_in, fan_out or fan_avg")
        if self.distribution not in ("normal", "uniform"):
            raise ValueError(f"UnitScaled.distribution is {self.distribution!r}; choose normal or uniform")
        if not self.scale > 0:
            raise ValueError(f"UnitScaled.scale is {self.scale}; it is a positive factor of the variance")

    def __call__(self, weight: SparseWeight, mask: Tensor, generator: torch.Generator) -> Tensor:
        connections = weight.by_unit(mask.cpu()).float()
        fan_in = connections.sum((2, 3), keepdim=True)
        fan_out = connections.sum((1, 3), keepdim=True)
        del connections  # four bytes a weight
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        std = (self.scale / n.clamp_min(1)).sqrt()
        noise = torch.empty(mask.shape)
        if self.distribution == "normal":
            noise.normal_(generator=generator)
        else:
            noise.uniform_(-(3**0.5), 3**0.5, generator=generator)
        weight.by_unit(noise).mul_(std)  # a view, so that noise is scaled in place
        return noise.to(weight.parameter.device, weight.parameter.dtype).masked_fill_(~mask, 0)
