"""Redistribution: weights that some layers drop grow where others need them more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from torch import Tensor

from ..masks.masks import Masks
from .top_k import top_k


def apportion(total: int, shares: Mapping[str, float], room: Mapping[str, int]) -> dict[str, int]:
    """Divide ``total`` into whole numbers in proportion to ``shares``, none above its ``room``.

    What does not fit into a full part goes to the others, in proportion to their shares; when only parts of share
    0 have room left, they take equal amounts. Exact fractions are rounded down, and the ones that are left go to
    the largest remainders, ties to the earlier part.

    Args:
        total: the whole number to divide.
        shares: the share of each part by name, finite and not negative; only their ratios count.
        room: the most that each part can take.

    Raises:
        ValueError: a share is negative or not finite; ``total`` is negative or more than all room.

    Example:
        >>> apportion(10, {"a": 3.0, "b": 1.0, "c": 1.0}, {"a": 4, "b": 9, "c": 9})
        {'a': 4, 'b': 3, 'c': 3}
    """
    for name, share in shares.items():
        if not 0 <= share < math.inf:
            raise ValueError(f"the share of {name!r} is {share}; shares are finite and not negative")
    if not 0 <= total <= sum(room.values()):
        raise ValueError(f"total is {total}, but there is room for 0 to {sum(room.values())}")
    exact = {name: Fraction(share) for name, share in shares.items()}  # exact, as every float is a fraction
    divided: dict[str, int] = {}
    while True:
        left = total - sum(divided.values())
        rest = {name: share for name, share in exact.items() if name not in divided}
        whole = sum(rest.values())
        ideal = {name: left * (share / whole if whole else Fraction(1, len(rest))) for name, share in rest.items()}
        full = {name: room[name] for name, part in ideal.items() if part >= room[name]}
        if not full:
            break
        divided |= full
    divided |= {name: math.floor(part) for name, part in ideal.items()}
    by_remainder = sorted(ideal, key=lambda name: ideal[name] - divided[name], reverse=True)  # ties keep their order
    for name in by_remainder[: total - sum(divided.values())]:
        divided[name] += 1
    return {name: divided[name] for name in shares}


def redistribute(
    masks: Mapping[str, Tensor],
    drop_scores: Mapping[str, Tensor],
    grow_scores: Mapping[str, Tensor],
    dropped: Mapping[str, int],
    shares: Mapping[str, float],
) -> dict[str, Tensor]:
    """Drop connections in each layer and grow as many in all, each layer its share of them.

    The number of active connections of all layers together does not change. A connection that was just dropped
    may be grown again in the same update.

    Args:
        masks: bool by layer, True = active.
        drop_scores: the ``dropped[name]`` active entries with the lowest scores go.
        grow_scores: the entries that were not kept and have the highest scores are grown.
        dropped: the entries to drop by layer, fewer than are active, so that none is emptied.
        shares: the share of each layer, as in :func:`apportion`; a layer takes no more than it has entries.

    Raises:
        ValueError: ``dropped`` leaves a layer without a weight; and as :func:`apportion` and :func:`top_k`.

    Example:
        >>> import torch
        >>> masks = {"a": torch.tensor([True, True, False]), "b": torch.tensor([True, True, False])}
        >>> scores = {"a": torch.tensor([2.0, 1.0, 0.0]), "b": torch.tensor([1.0, 2.0, 3.0])}
        >>> redistribute(masks, scores, scores, {"a": 1, "b": 0}, {"a": 0.0, "b": 1.0})
        {'a': tensor([ True, False, False]), 'b': tensor([True, True, True])}
    """
    kept, room = {}, {}
    for name, active in Masks(masks).counts.items():
        left = active - dropped[name]
        if dropped[name] and left < 1:
            raise ValueError(f"dropping {dropped[name]} weights of {name!r} leaves it without a weight: drop fewer")
        kept[name] = top_k(drop_scores[name], left, masks[name])
        room[name] = masks[name].numel() - left
    grown = apportion(sum(dropped.values()), shares, room)
    return {name: mask | top_k(grow_scores[name], grown[name], ~mask) for name, mask in kept.items()}
