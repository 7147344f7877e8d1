"""SNFS: sparse momentum, whose layers trade weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from ..sparsity import GradientScore, Masks, Score
from ..sparsity.masks.zeros import fetch
from ..sparsity.rules.averages import GradientAverages
from ..sparsity.rules.redistribution import redistribute
from .dynamic import DynamicSparseTraining
from .layers import Layers
from .method import Moment


@dataclass(frozen=True, kw_only=True)
class SNFS(DynamicSparseTraining):
    """Drop the smallest magnitudes, grow where the smoothed dense gradient is largest, in the layers that need it.

    The dense gradients are smoothed at every optimizer step, whose cost is that of dense gradients. At an update
    each layer drops its share of small weights, and all that was dropped is divided among the layers in proportion
    to the mean absolute smoothed gradient of their active weights. What does not fit into a full layer goes to the
    others in the same proportion, and no layer drops its last weight: the number of active weights of all layers
    together never changes. With several optimizers each divides what its own weights dropped. A step whose
    gradients are not finite leaves the smoothed ones as they were.

    Args:
        sparsity: as in :class:`DynamicSparseTraining`, like all arguments that are not named here; there are no
            ``grow`` and ``gradient_steps``. ``distribution`` says where the layers start.
        momentum: the momentum of the smoothed gradient, ``momentum * smoothed + (1 - momentum) * gradient``, in [0, 1).
            RigL's comparison found 0.99 best, and 0 about as good as 0.9.
        redistribute: False keeps the number of active weights of each layer, as in RigL's comparison.

    Raises:
        ValueError: ``momentum`` is outside [0, 1); and as :class:`DynamicSparseTraining`.

    Reference:
        Dettmers and Zettlemoyer 2019, who take the optimizer's momentum; here the optimizer sees masked gradients,
        and the smoothed ones are separate, so that any optimizer will do. They update once an epoch and exchange
        half of the weights at first: ``SNFS(drop_fraction=Cosine(0.5), window=UpdateWindow(steps of an epoch))``.
        They give what a full layer cannot take to the others in equal parts, and fill none above 99 %.

    Example:
        >>> SNFS(0.9, momentum=0.99).grow
        GradientScore()
    """

    momentum: float = 0.9
    redistribute: bool = True
    grow: Score = field(default=GradientScore(), init=False)
    gradient_steps: int = field(default=1, init=False)

    works_on_shards: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        GradientAverages(self.momentum)  # refuses a momentum out of range

    @property
    def gradient_momentum(self) -> float | None:
        return self.momentum

    def averages_at(self, step: int, total_steps: float, deferred: bool) -> bool:
        return True

    def expected_counts(self, layers: Layers) -> dict[str, int]:
        expected, counts = super().expected_counts(layers), layers.masks.counts
        traded = self.redistribute and sum(counts.values()) == sum(expected.values())
        return counts if traded else expected  # layers differ from the distribution once they have traded

    def new_masks(self, layers: Layers, weights: Mapping[str, nn.Parameter], moment: Moment) -> dict[str, Tensor]:
        if not self.redistribute:
            return super().new_masks(layers, weights, moment)
        progress = self.window.progress(moment.step, moment.total_steps)
        fraction = self.drop_fraction(progress, moment.lr_ratio)
        drop, grow, means, dropped = {}, {}, {}, {}
        for name, drop_score, grow_score in self.scores(layers, weights, moment.step):
            mask, count = layers.masks[name], layers.masks.counts[name]
            drop[name], grow[name] = drop_score, grow_score
            means[name] = layers.averages.values[name].abs()[mask].sum() / max(count, 1)
            dropped[name] = min(math.floor(count * fraction), max(count - 1, 0))
        shares = dict(zip(means, fetch(means.values()), strict=True))
        changed = redistribute({name: layers.masks[name] for name in drop}, drop, grow, dropped, shares)
        layers.target.update(Masks(changed).counts)
        return changed
