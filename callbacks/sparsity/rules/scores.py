"""Scores of weights, and the masks of those with the highest: which weights to keep, which to grow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NoReturn

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


def top_k(score: Tensor, k: int, among: Tensor) -> Tensor:
    """Return a bool mask of the ``k`` highest scores where ``among`` is True; ties go to the lower index.

    With the active entries as ``among`` this prunes a layer to ``k`` weights.

    Raises:
        ValueError: ``k`` is negative or ``among`` has fewer than ``k`` entries, or a score is NaN.

    Example:
        >>> top_k(torch.tensor([3.0, 1.0, 3.0, 9.0]), 2, torch.tensor([True, True, True, False]))
        tensor([ True, False,  True, False])
    """
    if k == 0:
        return torch.zeros_like(among)
    if not 0 < k <= among.numel():
        _refuse(k, among)
    score = score.double() if not score.is_floating_point() else score
    threshold = (_kth_by_sample if score.device.type == "cpu" else _kth_largest)(score, k, among)
    chosen = ((score >= threshold) & among).contiguous()
    surplus = int(chosen.count_nonzero()) - k
    if surplus < 0:
        _refuse(k, among)
    if surplus:
        ties = ((score == threshold) & among).flatten().nonzero().flatten()
        chosen.view(-1).index_fill_(0, ties[len(ties) - surplus :], False)
    return chosen


def _refuse(k: int, among: Tensor) -> NoReturn:
    available = int(among.count_nonzero())
    if not 0 <= k <= available:
        raise ValueError(f"k is {k}, but there are {available} entries to choose from")
    raise ValueError("a score is NaN, which has no place in an order: let the Score return finite numbers")


def _kth_largest(score: Tensor, k: int, among: Tensor) -> Tensor:
    """Return the k-th largest score where ``among`` is True, NaN first, then -infinity, without waiting for a GPU."""
    return torch.where(among, score, -torch.inf).flatten().topk(k, sorted=False).values.min()


_STRIDE = 64


def _kth_by_sample(score: Tensor, k: int, among: Tensor) -> Tensor:
    """Return the same on a CPU, where looking is cheap: a sample tells first which scores cannot be it."""
    gathered = k <= int(among.count_nonzero()) < score.numel() / 2
    values = score[among] if gathered else torch.where(among, score, -torch.inf).flatten()
    if values.numel() > 2**12:
        sample = values[::_STRIDE]
        share = min(int(k / values.numel() * len(sample) * 1.1) + 32, len(sample))
        likely = values[~(values < sample.topk(share, sorted=False).values.min())]
        if len(likely) >= k:
            values = likely
    return values.topk(k, sorted=False).values.min()


def drop_and_grow(mask: Tensor, drop_score: Tensor, grow_score: Tensor, n: int, *, active: int | None = None) -> Tensor:
    """Exchange ``n`` connections: keep the best active ones, then grow the best of all that are not kept.

    A connection that was just dropped may be grown again in the same update; it then keeps its value.
    The number of active connections does not change.

    Args:
        mask: bool, True = active.
        drop_score: the ``n`` active entries with the lowest scores are dropped.
        grow_score: the ``n`` entries with the highest scores, among all not kept, are grown.
        n: connections to exchange, in [0, active entries].
        active: active entries of ``mask``, where they are known; None counts them.

    Raises:
        ValueError: ``n`` is outside [0, active entries].

    Reference:
        Evci et al. 2020 (RigL), algorithm 1.

    Example:
        >>> mask = torch.tensor([True, True, False, False])
        >>> drop_and_grow(mask, torch.tensor([5.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 2.0, 3.0]), 1)
        tensor([ True, False, False,  True])
    """
    active = int(mask.count_nonzero()) if active is None else active
    if not 0 <= n <= active:
        raise ValueError(f"n is {n}, but the mask has {active} active entries to drop")
    kept = top_k(drop_score, active - n, mask)
    return kept | top_k(grow_score, n, ~kept)
