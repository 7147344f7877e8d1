"""Scores of weights: which to keep, which to grow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


class Score(ABC):
    """A rating of every entry of a weight; the highest are kept, or grown, first."""

    needs_gradient: ClassVar[bool] = True  # then growing by it costs the dense gradient
    draws: ClassVar[bool] = True  # whether it draws random numbers

    @abstractmethod
    def __call__(self, weight: Tensor, grad: Tensor, generator: torch.Generator) -> Tensor:
        """Return scores of the weight's shape.

        Args:
            weight: the masked weight.
            grad: its dense gradient, that of inactive entries included.
            generator: a CPU generator, for scores that draw; the same numbers on every process.
        """


@dataclass(frozen=True)
class MagnitudeScore(Score):
    """The score |w|."""

    needs_gradient: ClassVar[bool] = False
    draws: ClassVar[bool] = False

    def __call__(self, weight: Tensor, grad: Tensor, generator: torch.Generator) -> Tensor:
        return weight.abs()


@dataclass(frozen=True)
class GradientScore(Score):
    """The score |dL/dw|, by which RigL grows (Evci et al. 2020, section 3)."""

    draws: ClassVar[bool] = False

    def __call__(self, weight: Tensor, grad: Tensor, generator: torch.Generator) -> Tensor:
        return grad.abs()


@dataclass(frozen=True)
class SaliencyScore(Score):
    """The score |w * dL/dw|, the first-order change of the loss without the weight (SNIP, Lee et al. 2019)."""

    draws: ClassVar[bool] = False

    def __call__(self, weight: Tensor, grad: Tensor, generator: torch.Generator) -> Tensor:
        return (weight * grad).abs()


@dataclass(frozen=True)
class InvertedScore(Score):
    """The negative of another score: what it would keep or grow first comes last.

    Reference:
        Evci et al. 2022, the control "RigL inverted" grows where the gradient is smallest:
        ``DynamicSparseTraining(grow=InvertedScore(GradientScore()))``.
    """

    score: Score

    def __call__(self, weight: Tensor, grad: Tensor, generator: torch.Generator) -> Tensor:
        return -self.score(weight, grad, generator)


@dataclass(frozen=True)
class RandomScore(Score):
    """A random score in [0, 1), by which SET grows (Mocanu et al. 2018); equal on all ranks."""

    needs_gradient: ClassVar[bool] = False

    def __call__(self, weight: Tensor, grad: Tensor, generator: torch.Generator) -> Tensor:
        return torch.rand(weight.shape, generator=generator).to(weight.device)
