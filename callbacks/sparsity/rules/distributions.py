"""Layer-wise sparsity: from one number for the network to a whole-number budget per layer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch

Shapes = Mapping[str, torch.Size] | Mapping[str, tuple[int, ...]]


def zeros_at(sparsity: float, size: int) -> int:
    """Return floor(sparsity * size), safe against 0.95 * 2400 = 2279.9999..."""
    return math.floor(round(sparsity * size, 6))


class Distribution(ABC):
    """A rule that says how many weights of each layer stay active."""

    def __call__(self, shapes: Shapes, sparsity: float) -> dict[str, int]:
        """Return the number of active weights of each layer.

        Args:
            shapes: the sparse weights in network order; what is left dense is not listed and not counted.
            sparsity: wanted fraction of zeros, in [0, 1).

        Raises:
            ValueError: ``sparsity`` is outside [0, 1), or a layer would keep no weight at all.
        """
        if not 0 <= sparsity < 1:
            raise ValueError(f"sparsity is {sparsity}; it is a fraction of zeros in [0, 1)")
        counts = self.counts(shapes, sparsity)
        for name, count in counts.items():
            if count < 1:
                raise ValueError(
                    f"{self} at sparsity {sparsity} leaves {name!r} {tuple(shapes[name])} without a weight: "
                    "lower the sparsity, exclude the layer or choose another distribution"
                )
        return counts

    @abstractmethod
    def counts(self, shapes: Shapes, sparsity: float) -> dict[str, int]:
        """Return the number of active weights of each layer, for a sparsity known to be in [0, 1)."""


@dataclass(frozen=True)
class Uniform(Distribution):
    """The same sparsity for every layer, ``floor(sparsity * size)`` zeros.

    Args:
        first_layer_dense: keep the first layer dense, on top of the budget of the others.

    Reference:
        Evci et al. 2020 (RigL), section 3, "Sparsity distribution".

    Example:
        >>> Uniform()({"conv": (6, 1, 5, 5), "fc": (10, 84)}, 0.95)
        {'conv': 8, 'fc': 42}
    """

    first_layer_dense: bool = False

    def counts(self, shapes: Shapes, sparsity: float) -> dict[str, int]:
        sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        counts = {name: size - zeros_at(sparsity, size) for name, size in sizes.items()}
        if self.first_layer_dense and counts:
            first = next(iter(counts))
            counts[first] = sizes[first]
        return counts


@dataclass(frozen=True)
class ERK(Distribution):
    """Erdos-Renyi-Kernel: a density in proportion to (sum of the kernel's dimensions) / (their product).

    Small layers stay denser. A layer that would pass density 1 is kept dense and its surplus shared
    among the others, so the whole budget is met to the weight.

    Args:
        power: exponent of the ratio in [0, 1]; 1 is ERK, 0 is uniform.

    Reference:
        Evci et al. 2020 (RigL), section 3; ``power`` as in the authors' released code.

    Example:
        >>> ERK()({"conv": (6, 1, 5, 5), "fc": (10, 84)}, 0.8)
        {'conv': 30, 'fc': 168}
    """

    power: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 1:
            raise ValueError(f"{type(self).__name__}.power is {self.power}; it lies in [0, 1]")

    def ratio(self, shape: torch.Size | tuple[int, ...]) -> float:
        """Return the layer's density relative to others, before it is scaled to the budget."""
        return float((sum(shape) / math.prod(shape)) ** self.power)

    def counts(self, shapes: Shapes, sparsity: float) -> dict[str, int]:
        sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        budget = sum(sizes.values()) - zeros_at(sparsity, sum(sizes.values()))
        shares = {name: self.ratio(shape) * sizes[name] for name, shape in shapes.items()}
        return spread(budget, shares, sizes)


@dataclass(frozen=True)
class ER(ERK):
    """Erdos-Renyi: as :class:`ERK`, from the two channel dimensions alone.

    Reference:
        Mocanu et al. 2018; Evci et al. 2020 (RigL), section 3.
    """

    def ratio(self, shape: torch.Size | tuple[int, ...]) -> float:
        return super().ratio(tuple(shape[:2]))


def spread(budget: int, shares: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, int]:
    """Split ``budget`` in proportion to ``shares``, no part above its size, the sum exact.

    Saturated parts are filled and the rest is shared anew until nothing overflows; fractions are then
    rounded by largest remainder, the earlier name first on ties.
    """
    full: set[str] = set()
    while True:
        free = [name for name in sizes if name not in full]
        left = budget - sum(sizes[name] for name in full)
        scale = left / sum(shares[name] for name in free) if free else 0.0
        over = {name for name in free if scale * shares[name] > sizes[name]}
        if not over:
            break
        # the paper's code fills only the layers of the largest ratio in each round
        highest = max(shares[name] / sizes[name] for name in over)
        full |= {name for name in over if shares[name] / sizes[name] == highest}
    exact = {name: sizes[name] if name in full else scale * shares[name] for name in sizes}
    counts = {name: math.floor(value) for name, value in exact.items()}
    by_remainder = sorted(free, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: budget - sum(counts.values())]:
        counts[name] += 1
    return counts
