"""GradualPruning: from a dense network to a sparse one while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from .periodic import PeriodicUpdates
from .sparsity import (
    Cubic,
    Dense,
    Distribution,
    Initialization,
    Magnitude,
    Masks,
    PruningWindow,
    Schedule,
    Score,
    SparseWeight,
    Uniform,
    generator_for,
    prune_globally,
    top_k,
)
from .sparsity.one_shot import Scope
from .sparsity.sharding import whole


class GradualPruning(PeriodicUpdates):
    """Start dense and prune, update by update, to the final sparsity: gradual magnitude pruning (GMP).

    A pruned weight is 0 from then on and never comes back; the optimizer step goes on under the new mask.
    An update whose weights or gradients are not finite is put off to the next step. A fit that starts with
    ``masks_from`` prunes what those leave active. A weight that no optimizer holds (yet) is pruned with those of
    the first that holds any. A run that ends before the window does ends with a warning.

    Logs what :class:`SparseTraining` logs, and at each update ``sparsity/churn`` and ``sparsity/explored``;
    ``sparsity/target`` follows the schedule.

    Args:
        sparsity: final fraction of zeros over all selected weights, in [0, 1).
        schedule: share of the final sparsity, from the first update (progress 0) to the last (progress 1),
            where it must be 1.
        window: when to prune.
        score: active weights with the lowest scores go; of a weight without a gradient it sees one of 0.
        scope: ``"layer"`` gives each layer its sparsity; ``"global"`` sets one threshold over all layers of an
            optimizer, where each keeps its best weight at least.
        distribution: how the sparsity differs from layer to layer; with a global scope only the sum counts.
        initialization: as in :class:`SparseTraining`; the default keeps the weights the module has.
        static: the other arguments of :class:`SparseTraining`.

    Raises:
        ValueError: ``schedule`` starts outside [0, 1] or does not end at 1; ``scope`` is neither; the run ends before
            the window; a checkpoint of a run to another final sparsity; and as :class:`SparseTraining`.
        RuntimeError: at the end, when no optimizer step was seen; and as :class:`SparseTraining`.

    Reference:
        Zhu and Gupta 2017, equation 1; Evci et al. 2022, whose LeNet-5 is
        ``GradualPruning(0.95, window=PruningWindow(100, start=3000, stop=7000))`` in 11,719 steps. Where
        released code lets a pruned weight come back, because the variable behind the mask still moves, it stays 0 here.

    Example:
        >>> GradualPruning(0.95).schedule
        Cubic(initial=0.0, final=1.0)
    """

    window: PruningWindow

    works_sharded: ClassVar[bool] = True  # with FSDP2

    def __init__(
        self,
        sparsity: float = 0.9,
        *,
        schedule: Schedule = Cubic(0.0, 1.0),
        window: PruningWindow = PruningWindow(),
        score: Score = Magnitude(),
        scope: Scope = "layer",
        distribution: Distribution = Uniform(),
        initialization: Initialization = Dense(),
        **static: Any,
    ) -> None:
        super().__init__(sparsity, window=window, distribution=distribution, initialization=initialization, **static)
        if not 0 <= schedule(0.0) <= 1 or abs(schedule(1.0) - 1) > 1e-9:
            raise ValueError(
                f"schedule goes from {schedule(0.0):g} to {schedule(1.0):g}; it is a share of the final sparsity, from "
                "a number in [0, 1] to 1"
            )
        if scope not in ("layer", "global"):
            raise ValueError(f"scope is {scope!r}; choose layer or global")
        self.schedule = schedule
        self.score = score
        self.scope = scope
        self._final: dict[str, int] = {}

    def _plan(self, module: nn.Module) -> tuple[dict[str, SparseWeight], dict[str, int]]:
        selected, self._final = super()._plan(module)
        return selected, {name: weight.parameter.numel() for name, weight in selected.items()}

    def _wanted(self, counts: dict[str, int]) -> dict[str, int]:
        return counts  # of a fit that goes on, or starts with given masks, wherever those are on their way

    def _updatable(self, index: int) -> dict[str, nn.Parameter]:
        if any(self._weights_of[:index]):
            return super()._updatable(index)
        others = {name for weights in self._weights_of[index + 1 :] for name in weights}
        return {name: weight for name, weight in self._weights.items() if name not in others}

    @torch.no_grad()
    def new_masks(self, optimizer: Optimizer, weights: Mapping[str, nn.Parameter], step: int) -> dict[str, Tensor]:
        return self._pruned(self._scores(weights, step), step)

    def _pruned(self, scores: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """The masks that lose weights, out of those that have scores."""
        masks = {name: self.masks[name] for name in scores}
        active = {name: self._target[name] for name in scores}
        scheduled = self._scheduled(step)
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
        self._target.update(kept)
        return changed

    def _scheduled(self, step: int) -> dict[str, int]:
        """Weights that should be left after an update.

        Never fewer than in the end, which would happen, by one, where a distribution rounds each budget by itself.
        """
        share = self.schedule(self.window.progress(step, self._total_steps))
        now = self.distribution({name: mask.shape for name, mask in self.masks.items()}, self.sparsity * share)
        return {name: max(count, self._final[name]) for name, count in now.items()}

    def _scores(self, weights: Mapping[str, nn.Parameter], step: int) -> dict[str, Tensor]:
        return {
            name: self.score(
                whole(weights[name].detach()),
                whole(grad)
                if (grad := weights[name].grad) is not None
                else torch.zeros_like(self.masks[name], dtype=weights[name].dtype),
                generator_for(self.seed, step, layer),
            )
            for layer, name in enumerate(self.masks)
            if name in weights
        }

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        if not any(self._steps):
            raise RuntimeError(
                f"{type(self).__name__} saw no optimizer step and pruned nothing: in manual optimization step the "
                "optimizers of self.optimizers(), not those behind them"
            )
        left, final, size = sum(self._target.values()), sum(self._final.values()), self.masks.size
        if left > final:
            rank_zero_warn(
                f"the run ended at step {trainer.global_step} with sparsity {1 - left / size:.4f} instead of "
                f"{1 - final / size:.4f}, before {self.window} did: train on, or let the window stop earlier"
            )

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "final": dict(self._final)}

    def _load_state(self, state: Mapping[str, Any]) -> None:
        super()._load_state(state)
        final = state.get("final", self._final)  # another method's masks are pruned on from where they are
        differing = [name for name, count in self._final.items() if final[name] != count]
        if differing:
            name = differing[0]
            raise ValueError(
                f"the checkpoint prunes {name!r} to {final[name]} weights, but {type(self).__name__}(sparsity="
                f"{self.sparsity}, distribution={self.distribution}) to {self._final[name]}: use the arguments of the "
                "run it comes from"
            )
