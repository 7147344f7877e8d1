"""Mask updates: from scores to a new mask."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..masks.masks import Masks
from .top_k import top_k, top_k_together

_PIECE = 2**20  # entries of rows that are ranked together, so that little is held at once


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


def top_per_row(score: Tensor, k: Tensor, among: Tensor) -> Tensor:
    """Return a bool mask of the ``k[i]`` highest scores of row i where ``among`` is True; ties go to the lower index.

    Args:
        score: (rows, columns).
        k: (rows,), whole numbers.
        among: bool, (rows, columns).

    Raises:
        ValueError: ``k`` is negative, a row of ``among`` has fewer than ``k`` entries, or a score is NaN.

    Example:
        >>> top_per_row(torch.tensor([[1.0, 3.0, 3.0], [5.0, 4.0, 9.0]]), torch.tensor([1, 2]), torch.ones(2, 3).bool())
        tensor([[False,  True, False],
                [ True, False,  True]])
    """
    chosen = torch.empty_like(score, dtype=torch.bool)
    rows = _rows_together(score)
    for first in range(0, len(score), rows):
        part = slice(first, first + rows)
        chosen[part] = _top_of_rows(score[part], k[part].long(), among[part], first)
    return chosen


def _top_of_rows(score: Tensor, k: Tensor, among: Tensor, first: int) -> Tensor:
    """Return the mask of some rows of a layer; ``first`` is the index of the first one."""
    short = (k < 0) | (k > among.sum(1))
    if bool(short.any()):
        row = int(short.nonzero()[0])
        raise ValueError(
            f"k is {int(k[row])} in row {first + row}, but there are {int(among[row].sum())} entries to choose from"
        )
    most = int(k.max())
    if most == 0:
        return torch.zeros_like(among)
    score = score.masked_fill(~among, -torch.inf)
    best = score.topk(most, dim=1).values
    if bool(best.isnan().any()):
        raise ValueError("a score is NaN, which has no place in an order: let the Score return finite numbers")
    threshold = best.gather(1, (k - 1).clamp_min(0)[:, None])
    above, tied = score > threshold, (score == threshold) & among
    missing = k - above.sum(1)
    rows = (tied.sum(1) > missing).nonzero().flatten()  # including those with a k of 0
    tied[rows] &= tied[rows].cumsum(1) <= missing[rows, None]
    return above | tied


def count_per_row(mask: Tensor) -> Tensor:
    """Return how many entries of each row are True; a sum of all rows at once would hold 8 bytes for each entry."""
    return torch.cat([rows.sum(1) for rows in torch.split(mask, _rows_together(mask))])


def _rows_together(rows: Tensor) -> int:
    return max(1, _PIECE // max(rows.shape[1], 1))


def drop_and_grow_per_row(mask: Tensor, drop_score: Tensor, grow_score: Tensor, n: int, k: Tensor) -> Tensor:
    """Exchange ``n`` connections so that row i ends with exactly ``k[i]`` of them.

    What is dropped are the ``n`` lowest scores of all rows together, and of a row that still has more than ``k[i]``
    its lowest; then each row grows the best of all that it did not keep.

    Args:
        mask: bool, (rows, columns), True = active.
        drop_score: as in :func:`drop_and_grow`.
        grow_score: as in :func:`drop_and_grow`.
        n: connections to exchange, in [0, active entries].
        k: (rows,), whole numbers in [0, columns].

    Raises:
        ValueError: ``n`` or ``k`` is outside its range.

    Example:
        >>> mask = torch.tensor([[True, True, False], [True, True, False]])
        >>> drop, grow = torch.tensor([[5.0, 1.0, 0.0], [4.0, 3.0, 0.0]]), torch.tensor([[0.0, 1.0, 2.0]] * 2)
        >>> drop_and_grow_per_row(mask, drop, grow, 1, torch.tensor([2, 2]))
        tensor([[ True, False,  True],
                [ True,  True, False]])
    """
    kept = top_k(drop_score, int(mask.count_nonzero()) - n, mask)
    counts = count_per_row(kept).to(k.dtype)
    if bool((counts > k).any()):
        counts = counts.minimum(k)
        kept = top_per_row(drop_score, counts, kept)
    return kept | top_per_row(grow_score, k - counts, ~kept)


def prune_globally(
    scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], count: int, *, keep_layers: bool = False
) -> dict[str, Tensor]:
    """Keep the ``count`` highest scores of the active entries of all layers together.

    Ties go to the earlier layer, then to the lower index.

    Args:
        scores: the scores of each layer, comparable between layers.
        masks: bool masks of the same layers, True = active.
        count: active entries to keep in all.
        keep_layers: keep the best entry of every layer, whatever it scores, rather than to raise.

    Raises:
        ValueError: ``count`` is negative or more than are active; a score is NaN; a layer with active
            entries would keep none.

    Example:
        >>> scores = {"a": torch.tensor([5.0, 4.0, 3.0]), "b": torch.tensor([1.0, 2.0])}
        >>> prune_globally(scores, {name: score > 0 for name, score in scores.items()}, 2, keep_layers=True)
        {'a': tensor([ True, False, False]), 'b': tensor([False,  True])}
    """
    layers = {name: int(count > 0) for name, count in Masks(masks).counts.items()}
    best = {name: top_k(scores[name], int(keep_layers) * layers[name], mask) for name, mask in masks.items()}
    reserved = sum(layers.values()) if keep_layers else 0
    if count < reserved:
        raise ValueError(f"count is {count}, too few for one entry in each of the {reserved} layers: prune less")
    rest = [mask & ~best[name] for name, mask in masks.items()]
    chosen = top_k_together([scores[name] for name in masks], count - reserved, rest)
    kept = {name: best[name] | part for name, part in zip(masks, chosen, strict=True)}
    for name, left in Masks(kept).counts.items():
        if layers[name] and not left:
            raise ValueError(
                f"keeping the {count} highest scores of all layers leaves {name!r} without a weight: "
                "prune less, exclude the layer or choose layer by layer (scope='layer')"
            )
    return kept
