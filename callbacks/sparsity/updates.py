"""Mask updates: from scores to a new mask."""

from __future__ import annotations

import torch
from torch import Tensor


def top_k(score: Tensor, k: int, among: Tensor) -> Tensor:
    """A bool mask of the ``k`` highest scores where ``among`` is True; ties go to the lower index.

    Raises:
        ValueError: ``k`` is negative or ``among`` has fewer than ``k`` entries, or a score is NaN.

    Example:
        >>> top_k(torch.tensor([3.0, 1.0, 3.0, 2.0]), 2, torch.tensor([True, True, True, True]))
        tensor([ True, False,  True, False])
    """
    available = int(among.count_nonzero())
    if not 0 <= k <= available:
        raise ValueError(f"k is {k}, but there are {available} entries to choose from")
    if k == 0:
        return torch.zeros_like(among)
    score = score.double() if not score.is_floating_point() else score
    sparse = available < score.numel() / 2
    threshold = _kth_largest(score[among] if sparse else score.masked_fill(~among, -torch.inf).flatten(), k)
    if bool(threshold.isnan()):
        raise ValueError("a score is NaN, which has no place in an order: let the Score return finite numbers")
    chosen = (score >= threshold) & among
    surplus = int(chosen.count_nonzero()) - k
    if surplus:
        ties = ((score == threshold) & among).flatten().nonzero().flatten()
        chosen.view(-1)[ties[len(ties) - surplus :]] = False
    return chosen


_STRIDE = 64


def _kth_largest(values: Tensor, k: int) -> Tensor:
    """The k-th largest of ``values``, NaN first; a sample tells first which values cannot be it."""
    if values.numel() > 2**12:
        sample = values[::_STRIDE]
        share = min(int(k / values.numel() * len(sample) * 1.1) + 32, len(sample))
        likely = values[~(values < sample.topk(share, sorted=False).values.min())]
        if len(likely) >= k:
            values = likely
    return values.topk(k, sorted=False).values.min()


def drop_and_grow(mask: Tensor, drop_score: Tensor, grow_score: Tensor, n: int) -> Tensor:
    """Exchange ``n`` connections: keep the best active ones, then grow the best of all that are not kept.

    A connection that was just dropped may be grown again in the same update; it then keeps its value.
    The number of active connections does not change.

    Args:
        mask: bool, True = active.
        drop_score: the ``n`` active entries with the lowest scores are dropped.
        grow_score: the ``n`` entries with the highest scores, among all not kept, are grown.
        n: in [0, active entries].

    Raises:
        ValueError: ``n`` is outside [0, active entries].

    Reference:
        Evci et al. 2020 (RigL), algorithm 1.

    Example:
        >>> mask = torch.tensor([True, True, False, False])
        >>> drop_and_grow(mask, torch.tensor([5.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 2.0, 3.0]), 1)
        tensor([ True, False, False,  True])
    """
    active = int(mask.count_nonzero())
    if not 0 <= n <= active:
        raise ValueError(f"n is {n}, but the mask has {active} active entries to drop")
    kept = top_k(drop_score, active - n, mask)
    return kept | top_k(grow_score, n, ~kept)
