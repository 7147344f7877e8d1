"""SNFS: sparse momentum, whose layers trade weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .dynamic import DynamicSparseTraining
from .periodic import lr_ratio
from .sparsity import Gradient, GradientAverages, Masks, redistribute
from .sparsity.transfer import fetch


class SNFS(DynamicSparseTraining):
    """Drop the smallest magnitudes, grow where the smoothed dense gradient is largest, in the layers that need it.

    The dense gradients are smoothed at every optimizer step, whose cost is that of dense gradients. At an update
    each layer drops its share of small weights, and all that was dropped is divided among the layers in proportion
    to the mean absolute smoothed gradient of their active weights. What does not fit into a full layer goes to the
    others in the same proportion, and no layer drops its last weight: the number of active weights of all layers
    together never changes. With several optimizers each divides what its own weights dropped. A step whose
    gradients are not finite leaves the smoothed ones as they were.

    Args:
        sparsity: as in :class:`SparseTraining`; ``distribution`` says where the layers start.
        momentum: of the smoothed gradient, ``momentum * smoothed + (1 - momentum) * gradient``, in [0, 1). RigL's
            comparison found 0.99 best, and 0 about as good as 0.9.
        redistribute: False keeps the number of active weights of each layer, as in RigL's comparison.
        dynamic: the other arguments of :class:`DynamicSparseTraining`, without ``grow`` and ``gradient_steps``.

    Raises:
        ValueError: ``momentum`` is outside [0, 1); and as :class:`DynamicSparseTraining`.

    Reference:
        Dettmers and Zettlemoyer 2019, who take the optimizer's momentum; here the optimizer sees masked gradients,
        and the smoothed ones are separate, so that any optimizer will do. They update once an epoch and exchange
        half of the weights at first: ``SNFS(drop_fraction=Cosine(0.5), window=UpdateWindow(steps of an epoch))``.
        They give what a full layer cannot take to the others in equal parts, and fill none above 99 %.

    Example:
        >>> SNFS(0.9, momentum=0.99).grow
        Gradient()
    """

    def __init__(
        self, sparsity: float = 0.9, *, momentum: float = 0.9, redistribute: bool = True, **dynamic: Any
    ) -> None:
        super().__init__(sparsity, grow=Gradient(), gradient_steps=1, **dynamic)
        self.momentum = momentum
        self.redistribute = redistribute
        self._averages = GradientAverages(momentum)

    def _averages_at(self, index: int, step: int) -> bool:
        return True

    def _wanted(self, counts: dict[str, int]) -> dict[str, int]:
        wanted = super()._wanted(counts)
        moved = self.redistribute and sum(counts.values()) == sum(wanted.values())
        return counts if moved else wanted  # layers differ from the distribution once they have traded

    @torch.no_grad()
    def new_masks(self, optimizer: Optimizer, weights: Mapping[str, nn.Parameter], step: int) -> dict[str, Tensor]:
        if not self.redistribute:
            return super().new_masks(optimizer, weights, step)
        fraction = self.drop_fraction(self.window.progress(step, self._total_steps), lr_ratio(optimizer, weights))
        drop, grow, means, dropped = {}, {}, {}, {}
        for name, drop_score, grow_score in self._scores(weights, step):
            mask, count = self.masks[name], self.masks.counts[name]
            drop[name], grow[name] = drop_score, grow_score
            means[name] = self._averages.values[name].abs()[mask].sum() / max(count, 1)
            dropped[name] = min(math.floor(count * fraction), max(count - 1, 0))
        shares = dict(zip(means, fetch(means.values()), strict=True))
        changed = redistribute({name: self.masks[name] for name in drop}, drop, grow, dropped, shares)
        self._target.update(Masks(changed).counts)
        return changed
