"""GraNet: gradual pruning that regrows at each step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from ..sparsity import ERK, Cosine, Cubic, Distribution, Masks, PruningWindow, Schedule, drop_and_grow
from ..sparsity.rules.one_shot import Scope
from .dynamic import check_drop_fraction
from .gradual_pruning import GradualPruning
from .layers import Layers
from .method import Moment, shapes_of


@dataclass(frozen=True, kw_only=True)
class GraNet(GradualPruning):
    """Prune gradually from a first sparsity to the final one, and let weights come back where the gradient is.

    At each update the smallest magnitudes of all layers together are pruned, as by
    ``GradualPruning(scope="global")``; then each layer exchanges a share of its smallest weights for those with
    the largest dense gradients, as RigL does, which changes no layer's number of weights. The optimizer step goes on
    under the new mask. Grown weights start at exactly 0 with cleared optimizer state.

    The callback logs what it logs of :class:`SparseTraining`, ``sparsity/churn`` and ``sparsity/explored``;
    ``sparsity/target`` follows the schedule.

    Args:
        sparsity: final fraction of zeros over all selected weights, in [0, 1). Arguments that are not named here are
            as in :class:`GradualPruning`; there are no ``schedule`` and ``scope``.
        initial_sparsity: fraction of zeros of the random masks a run starts with, in [0, ``sparsity``]; 0 starts
            dense.
        drop_fraction: share of a layer's active weights to exchange at an update, after it was pruned.
        window: when to update; progress of ``drop_fraction`` runs from the first update to the last.
        distribution: how the first sparsity differs from layer to layer; of the later ones only the sum counts.

    Raises:
        ValueError: ``initial_sparsity`` is outside [0, ``sparsity``]; ``drop_fraction`` starts or ends outside [0, 1];
            and as :class:`GradualPruning`.

    Reference:
        Liu et al. 2021, "Sparse Training via Boosting Pruning Plasticity with Neuroregeneration". On ImageNet
        ``GraNet(window=PruningWindow(4000, start=0.0, stop=0.3))``.

    Example:
        >>> GraNet(0.8, initial_sparsity=0.5).schedule
        Cubic(initial=0.625, final=1.0)
    """

    initial_sparsity: float = 0.5
    drop_fraction: Schedule = Cosine(0.5)
    window: PruningWindow = PruningWindow(start=0.0)
    distribution: Distribution = ERK()
    schedule: Schedule = field(default=Cubic(0.0, 1.0), init=False)
    scope: Scope = field(default="global", init=False)

    works_on_shards: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if 0 <= self.sparsity < 1 and not 0 <= self.initial_sparsity <= self.sparsity:
            raise ValueError(
                f"initial_sparsity is {self.initial_sparsity}; a run starts with a fraction of zeros from 0 (dense) to "
                f"the final sparsity {self.sparsity}"
            )
        share = self.initial_sparsity / self.sparsity if self.sparsity else 1.0
        object.__setattr__(self, "schedule", Cubic(share, 1.0))
        super().__post_init__()
        check_drop_fraction(self.drop_fraction)

    def first_counts(self, layers: Layers) -> dict[str, int]:
        if not self.initial_sparsity:
            return super().first_counts(layers)
        return self.distribution(shapes_of(layers.selected), self.initial_sparsity)

    def needs_dense_gradients(self, step: int, total_steps: float, deferred: bool) -> bool:
        return deferred or self.window.due(step, total_steps)

    def new_masks(self, layers: Layers, weights: Mapping[str, nn.Parameter], moment: Moment) -> dict[str, Tensor]:
        scores = self.scores(layers, weights, moment.step)
        masks = {name: layers.masks[name] for name in weights} | self.prune(layers, scores, moment)
        fraction = self.drop_fraction(self.window.progress(moment.step, moment.total_steps), moment.lr_ratio)
        for name, active in Masks(masks).counts.items():
            if (grad := weights[name].grad) is not None:
                n = math.floor(active * fraction)
                masks[name] = drop_and_grow(masks[name], scores[name], grad.abs(), n, active=active)
        return masks
