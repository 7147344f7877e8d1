"""Iterative pruning: every level removes a share of the weights that are left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..sparsity import Masks, top_k
from ..sparsity.rules.one_shot import Scope, check_scope
from ..sparsity.rules.updates import prune_globally


@dataclass(frozen=True)
class IterativePruning:
    """Train, prune the smallest magnitudes, rewind, and begin again: iterative magnitude pruning (IMP).

    Args:
        share: the share of the weights left, in (0, 1), that is removed at each level.
        levels: times to prune, 1 or more; ``1 - (1 - share) ** levels`` is the sparsity of the last.
        scope: ``"global"`` compares magnitudes of all layers; ``"layer"`` takes the share from each.
        include: patterns of parameter names or layer classes to prune; see :func:`select`.
        exclude: patterns to leave dense.

    Raises:
        ValueError: an argument is outside its range; when pruning, a layer would be left without a weight.

    Reference:
        Frankle and Carbin 2019, who take half the share from the output layer; here all layers are alike.

    Example:
        >>> pruning = IterativePruning(share=0.5, levels=2)
        >>> masks = Masks({"fc": torch.tensor([True, True, True, True])})
        >>> pruning(masks, {"fc": torch.tensor([4.0, -1.0, 2.0, -3.0])})["fc"]
        tensor([ True, False, False,  True])
    """

    share: float = 0.2
    levels: int = 10
    scope: Scope = "global"
    include: str | Sequence[str] = "*"
    exclude: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"IterativePruning.share is {self.share}; it lies between 0 and 1")
        if self.levels < 1:
            raise ValueError(f"IterativePruning.levels is {self.levels}; it is 1 or more")
        check_scope(self.scope)

    @torch.no_grad()
    def __call__(self, masks: Masks, weights: Mapping[str, Tensor]) -> Masks:
        """Return the masks of the next level, given the trained weights of this one."""
        magnitudes = {name: weights[name].abs() for name in masks}
        counts = masks.counts
        if self.scope == "global":
            return masks.replace(prune_globally(magnitudes, masks, self._left(sum(counts.values()))))
        left = {name: self._left(count) for name, count in counts.items()}
        empty = [name for name, count in left.items() if not count]
        if empty:
            raise ValueError(f"removing {self.share:g} of {counts[empty[0]]} weights leaves none in {empty[0]!r}")
        return masks.replace({name: top_k(magnitudes[name], left[name], masks[name]) for name in masks})

    def _left(self, count: int) -> int:
        return round(count * (1 - self.share))
