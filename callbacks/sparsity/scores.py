"""Scores: which weights to keep, which to grow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


class Score(ABC):
    """Rates every entry of a weight; higher = kept, or grown, first."""

    needs_gradient: ClassVar[bool] = True  # so that growing by it costs the dense gradient

    @abstractmethod
    def __call__(self, weight: Tensor, grad: Tensor, generator: torch.Generator) -> Tensor:
        """Scores of the weight's shape.

        Args:
            weight: the masked weight.
            grad: its dense gradient, that of inactive entries included.
            generator: a CPU generator, for scores that draw.
        """


@dataclass(frozen=True)
class Magnitude(Score):
    """|w|."""

    needs_gradient: ClassVar[bool] = False

    def __call__(self, weight: Tensor, grad: Tensor, generator: torch.Generator) -> Tensor:
        return weight.abs()


@dataclass(frozen=True)
class Gradient(Score):
    """|dL/dw|, the growth rule of RigL (Evci et al. 2020, section 3)."""

    def __call__(self, weight: Tensor, grad: Tensor, generator: torch.Generator) -> Tensor:
        return grad.abs()


@dataclass(frozen=True)
class Saliency(Score):
    """|w * dL/dw|, the first-order change of the loss when a weight is removed (SNIP, Lee et al. 2019)."""

    def __call__(self, weight: Tensor, grad: Tensor, generator: torch.Generator) -> Tensor:
        return (weight * grad).abs()


@dataclass(frozen=True)
class Inverted(Score):
    """The negative of another score: what it would keep or grow first comes last.

    Reference:
        Evci et al. 2022, the control "RigL inverted" grows where the gradient is smallest:
        ``DynamicSparseTraining(grow=Inverted(Gradient()))``.
    """

    score: Score

    def __call__(self, weight: Tensor, grad: Tensor, generator: torch.Generator) -> Tensor:
        return -self.score(weight, grad, generator)


@dataclass(frozen=True)
class Random(Score):
    """Uniform in [0, 1), the growth rule of SET (Mocanu et al. 2018); equal on all ranks."""

    needs_gradient: ClassVar[bool] = False

    def __call__(self, weight: Tensor, grad: Tensor, generator: torch.Generator) -> Tensor:
        return torch.rand(weight.shape, generator=generator).to(weight.device)
