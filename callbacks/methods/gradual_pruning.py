"""GradualPruning: from a dense network to a sparse one while it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..sparsity import (
    Cubic,
    Distribution,
    Initialization,
    KeepValues,
    MagnitudeScore,
    Masks,
    PruningWindow,
    Schedule,
    Score,
    Uniform,
    generator_for,
    top_k,
)
from ..sparsity.masks.sharding import gather
from ..sparsity.rules.one_shot import Scope, check_scope
from ..sparsity.rules.updates import prune_globally
from .layers import Layers
from .method import Method, Moment, shapes_of


@dataclass(frozen=True, kw_only=True)
class GradualPruning(Method):
    """Start dense and prune, update by update, to the final sparsity: gradual magnitude pruning (GMP).

    A pruned weight is 0 from then on and never comes back; the optimizer step goes on under the new mask.
    An update whose weights or gradients are not finite is put off to the next step. A fit that starts with
    ``masks_from`` prunes what those leave active. A weight that no optimizer holds (yet) is pruned with those of
    the first that holds any. A run that ends before the window does ends with a warning.

    The callback logs what it logs of :class:`SparseTraining`, and at each update ``sparsity/churn`` and
    ``sparsity/explored``; ``sparsity/target`` follows the schedule.

    Args:
        sparsity: final fraction of zeros over all selected weights, in [0, 1). Arguments that are not named here are
            as in :class:`Method`.
        schedule: share of the final sparsity, from the first update (progress 0) to the last (progress 1),
            where it must be 1.
        window: when to prune.
        score: active weights with the lowest scores go; of a weight without a gradient it sees one of 0.
        scope: ``"layer"`` gives each layer its sparsity; ``"global"`` sets one threshold over all layers of an
            optimizer, where each keeps its best weight at least.
        distribution: how the sparsity differs from layer to layer; with a global scope only the sum counts.
        initialization: first values of the weights; the default keeps those that the module has.

    Raises:
        ValueError: ``schedule`` starts outside [0, 1] or does not end at 1; ``scope`` is neither; the run ends before
            the window; a checkpoint of a run to another final sparsity; and as :class:`Method`.
        RuntimeError: at the end, when no optimizer step was seen.

    Reference:
        Zhu and Gupta 2017, equation 1; Evci et al. 2022, whose LeNet-5 is
        ``GradualPruning(0.95, window=PruningWindow(100, start=3000, stop=7000))`` in 11,719 steps. Where
        released code lets a pruned weight come back, because the variable behind the mask still moves, it stays 0 here.

    Example:
        >>> GradualPruning(0.95).schedule
        Cubic(initial=0.0, final=1.0)
    """

    schedule: Schedule = Cubic(0.0, 1.0)
    window: PruningWindow = PruningWindow()
    score: Score = MagnitudeScore()
    scope: Scope = "layer"
    distribution: Distribution = Uniform()
    initialization: Initialization = KeepValues()

    works_on_shards: ClassVar[bool] = True
    saves_budget_as: ClassVar[str] = "final"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.schedule(0.0) <= 1 or abs(self.schedule(1.0) - 1) > 1e-9:
            raise ValueError(
                f"schedule goes from {self.schedule(0.0):g} to {self.schedule(1.0):g}; it is a share of the final "
                "sparsity, from a number in [0, 1] to 1"
            )
        check_scope(self.scope)

    def first_counts(self, layers: Layers) -> dict[str, int]:
        return {name: weight.numel() for name, weight in layers.weights.items()}

    def resume_budget(self, layers: Layers, saved: Mapping[str, int] | None) -> dict[str, int]:
        final = saved or layers.budget  # the masks of another method are pruned further
        differing = [name for name, count in layers.budget.items() if final[name] != count]
        if differing:
            name = differing[0]
            raise ValueError(
                f"the checkpoint prunes {name!r} to {final[name]} weights, but {type(self).__name__}(sparsity="
                f"{self.sparsity}, distribution={self.distribution}) to {layers.budget[name]}: use the arguments of "
                "the run it comes from"
            )
        return layers.budget

    def expected_counts(self, layers: Layers) -> dict[str, int]:
        return layers.masks.counts  # a fit that resumes, or starts with given masks, may have pruned any share

    def updatable(
        self, held: Sequence[Mapping[str, nn.Parameter]], index: int, weights: Mapping[str, nn.Parameter]
    ) -> dict[str, nn.Parameter]:
        if any(held[:index]):
            return dict(held[index])
        others = {name for weights_of in held[index + 1 :] for name in weights_of}
        return {name: weight for name, weight in weights.items() if name not in others}

    def new_masks(self, layers: Layers, weights: Mapping[str, nn.Parameter], moment: Moment) -> dict[str, Tensor]:
        return self.prune(layers, self.scores(layers, weights, moment.step), moment)

    def prune(self, layers: Layers, scores: Mapping[str, Tensor], moment: Moment) -> dict[str, Tensor]:
        """Return the masks that lose weights, out of those that have scores."""
        masks = {name: layers.masks[name] for name in scores}
        active = {name: layers.target[name] for name in scores}
        scheduled = self._scheduled(layers, moment)
        if self.scope == "layer":
            kept = {name: min(count, scheduled[name]) for name, count in active.items()}
            changed = {
                name: top_k(scores[name], kept[name], mask) for name, mask in masks.items() if kept[name] < active[name]
            }
        else:
            total = sum(scheduled[name] for name in scores)
            fewer = total < sum(active.values())
            changed = prune_globally(scores, masks, total, keep_layers=True) if fewer else {}
            kept = Masks(changed).counts
        layers.target.update(kept)
        return changed

    def _scheduled(self, layers: Layers, moment: Moment) -> dict[str, int]:
        """Return the weights that should be left after an update.

        They are never fewer than in the end, which would happen, by one, where a distribution rounds each budget by
        itself.
        """
        share = self.schedule(self.window.progress(moment.step, moment.total_steps))
        now = self.distribution(shapes_of(layers.selected), self.sparsity * share)
        return {name: max(count, layers.budget[name]) for name, count in now.items()}

    def scores(self, layers: Layers, weights: Mapping[str, nn.Parameter], step: int) -> dict[str, Tensor]:
        """Return the scores of ``weights``; one without a gradient has a gradient of 0."""
        scores = {}
        for index, name in enumerate(layers.weights):
            if name in weights:
                weight, grad = gather(weights[name].detach()), weights[name].grad
                dense = torch.zeros_like(weight) if grad is None else gather(grad)
                scores[name] = self.score(weight, dense, generator_for(self.seed, step, index))
        return scores

    def check_end(self, layers: Layers, stepped: bool) -> str:
        if not stepped:
            raise RuntimeError(
                f"{type(self).__name__} saw no optimizer step and pruned nothing: in manual optimization step the "
                "optimizers of self.optimizers(), not those behind them"
            )
        left, final, size = sum(layers.target.values()), sum(layers.budget.values()), layers.masks.size
        if left <= final:
            return ""
        return (
            f"with sparsity {1 - left / size:.4f} instead of {1 - final / size:.4f}, before {self.window} did: train "
            "on, or let the window stop earlier"
        )
