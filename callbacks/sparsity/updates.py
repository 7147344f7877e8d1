"""Mask updates: from scores to a new mask."""

from __future__ import annotations

import torch
from torch import Tensor


def top_k(score: Tensor, k: int, among: Tensor) -> Tensor:
    """A bool mask of the ``k`` highest scores where ``among`` is True; ties go to the lower index.

    Raises:
        ValueError: ``k`` is negative or ``among`` has fewer than ``k`` entries.

    Example:
        >>> top_k(torch.tensor([3.0, 1.0, 3.0, 2.0]), 2, torch.tensor([True, True, True, True]))
        tensor([ True, False,  True, False])
    """
    positions = among.flatten().nonzero().flatten()
    if not 0 <= k <= positions.numel():
        raise ValueError(f"k is {k}, but there are {positions.numel()} entries to choose from")
    chosen = torch.zeros(score.numel(), dtype=torch.bool, device=score.device)
    if k:
        candidates = score.flatten()[positions]
        threshold = candidates.topk(k, sorted=False).values.min()
        above = candidates > threshold
        ties = (candidates == threshold).nonzero().flatten()[: k - int(above.sum())]
        above[ties] = True
        chosen[positions[above]] = True
    return chosen.view(score.shape)


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
    active = int(mask.sum())
    if not 0 <= n <= active:
        raise ValueError(f"n is {n}, but the mask has {active} active entries to drop")
    kept = top_k(drop_score, active - n, mask)
    return kept | top_k(grow_score, n, ~kept)
