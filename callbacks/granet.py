"""GraNet: gradual pruning that regrows at each step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .periodic import check_drop_fraction, lr_ratio
from .pruning import GradualPruning
from .sparsity import ERK, Cosine, Cubic, Distribution, Masks, PruningWindow, Schedule, SparseWeight, drop_and_grow


class GraNet(GradualPruning):
    """Prune gradually from a first sparsity to the final one, and let weights come back where the gradient is.

    At each update the smallest magnitudes of all layers together are pruned, as by
    ``GradualPruning(scope="global")``; then each layer exchanges a share of its smallest weights for those with
    the largest dense gradients, as RigL does, which changes no layer's number of weights. The optimizer step goes on
    under the new mask. Grown weights start at exactly 0 with cleared optimizer state.

    Logs what :class:`SparseTraining` logs, ``sparsity/churn`` and ``sparsity/explored``; ``sparsity/target`` follows
    the schedule.

    Args:
        sparsity: final fraction of zeros over all selected weights, in [0, 1).
        initial_sparsity: fraction of zeros of the random masks a run starts with, in [0, ``sparsity``]; 0 starts
            dense.
        drop_fraction: share of a layer's active weights to exchange at an update, after it was pruned.
        window: when to update; progress of ``drop_fraction`` runs from the first update to the last.
        distribution: how the first sparsity differs from layer to layer; of the later ones only the sum counts.
        pruning: the other arguments of :class:`GradualPruning`, without ``schedule`` and ``scope``.

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

    def __init__(
        self,
        sparsity: float = 0.9,
        *,
        initial_sparsity: float = 0.5,
        drop_fraction: Schedule = Cosine(0.5),
        window: PruningWindow = PruningWindow(start=0.0),
        distribution: Distribution = ERK(),
        **pruning: Any,
    ) -> None:
        if 0 <= sparsity < 1 and not 0 <= initial_sparsity <= sparsity:
            raise ValueError(
                f"initial_sparsity is {initial_sparsity}; a run starts with a fraction of zeros from 0 (dense) to the "
                f"final sparsity {sparsity}"
            )
        schedule = Cubic(initial_sparsity / sparsity if sparsity else 1.0, 1.0)
        super().__init__(
            sparsity, schedule=schedule, window=window, scope="global", distribution=distribution, **pruning
        )
        check_drop_fraction(drop_fraction)
        self.initial_sparsity = initial_sparsity
        self.drop_fraction = drop_fraction

    def _plan(self, module: nn.Module) -> tuple[dict[str, SparseWeight], dict[str, int]]:
        selected, dense = super()._plan(module)
        shapes = {name: weight.parameter.shape for name, weight in selected.items()}
        return selected, self.distribution(shapes, self.initial_sparsity) if self.initial_sparsity else dense

    def _looks_at_all(self, index: int, step: int) -> bool:
        return self._due(index, step)

    @torch.no_grad()
    def new_masks(self, optimizer: Optimizer, weights: Mapping[str, nn.Parameter], step: int) -> dict[str, Tensor]:
        scores = self._scores(weights, step)
        masks = {name: self.masks[name] for name in weights} | self._pruned(scores, step)
        held = self._members(optimizer)
        fraction = self.drop_fraction(self.window.progress(step, self._total_steps), lr_ratio(optimizer, held))
        for name, active in Masks(masks).counts.items():
            if (grad := weights[name].grad) is not None:
                n = math.floor(active * fraction)
                masks[name] = drop_and_grow(masks[name], scores[name], grad.abs(), n, active=active)
        return masks
