"""Dynamic sparse training: the mask moves while the number of active weights stays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import GradClipAlgorithmType
from torch import Tensor, nn
from torch.optim import Optimizer

from .observer import log_metrics
from .periodic import PeriodicUpdates
from .sparsity import (
    Cosine,
    Gradient,
    Magnitude,
    Random,
    Schedule,
    Score,
    UpdateWindow,
    drop_and_grow,
    generator_for,
)
from .sparsity.masks import count_packed, pack


class DynamicSparseTraining(PeriodicUpdates):
    """Every ``window.every`` optimizer steps, drop some active weights of each layer and grow as many.

    An update whose weights or gradients are not finite is put off to the next step and counted. Grown
    weights start at exactly 0 with cleared optimizer state; a weight that is dropped and grown in the same
    update keeps its value. With several optimizers each counts its own steps and updates its own weights.
    Weights without a gradient are left alone.

    Logs, besides :class:`SparseTraining`, at each update ``sparsity/churn`` (share of the active weights
    that were exchanged) and ``sparsity/explored`` (share of all weights that were ever active), and
    ``sparsity/deferred`` (updates put off so far) when that happens.

    Args:
        sparsity: as in :class:`SparseTraining`.
        drop: active weights with the lowest score are dropped.
        grow: inactive weights with the highest score are grown.
        drop_fraction: share of a layer's active weights to exchange, in [0, 1].
        window: when to update; progress of ``drop_fraction`` runs from step 0 to the window's end. In
            manual optimization a fraction is one of the batches, so give steps for an optimizer that does
            not step once a batch.
        update_replaces_step: at an update the optimizer does nothing, as in the paper's algorithm 1; gradients
            are None then, which a hook of the module that reads them must expect.
            False: the update comes first and the optimizer steps right after, with the same gradients
            under the new mask (the authors' code for SET steps first and updates after).
        static: the other arguments of :class:`SparseTraining`.

    Raises:
        ValueError: ``drop_fraction`` starts or ends outside [0, 1]; every step would be replaced; and as
            :class:`SparseTraining`.
    """

    def __init__(
        self,
        sparsity: float = 0.9,
        *,
        drop: Score = Magnitude(),
        grow: Score = Random(),
        drop_fraction: Schedule = Cosine(0.3),
        window: UpdateWindow = UpdateWindow(),
        update_replaces_step: bool = True,
        **static: Any,
    ) -> None:
        super().__init__(sparsity, window=window, **static)
        for progress, verb in ((0.0, "starts"), (1.0, "ends")):
            if not 0 <= drop_fraction(progress) <= 1:
                raise ValueError(f"drop_fraction {verb} at {drop_fraction(progress)}; it is a share in [0, 1]")
        if update_replaces_step and window.every == 1:
            raise ValueError("window.every is 1 and updates replace steps: no step is left to train")
        self.drop = drop
        self.grow = grow
        self.drop_fraction = drop_fraction
        self.update_replaces_step = update_replaces_step
        self._explored: dict[str, Tensor] = {}  # packed: one bit a weight
        self._clip_val: int | float | None = None  # the Trainer's, while suspended

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._clip_val = None
        if trainer.global_step == 0:
            self._explored = {name: pack(mask) for name, mask in self.masks.items()}

    def masks_changed(self, trainer: pl.Trainer, optimizer: Optimizer, changed: Mapping[str, Tensor]) -> None:
        super().masks_changed(trainer, optimizer, changed)
        self._note_explored(trainer)
        if self.update_replaces_step:
            optimizer.zero_grad(set_to_none=True)  # without gradients a step changes nothing
            self._suspend_clipping(trainer)

    def _suspend_clipping(self, trainer: pl.Trainer) -> None:
        """There is nothing to clip in this step, and torch's clip_grad_value_ fails on no gradients at all."""
        if trainer.gradient_clip_val and trainer.gradient_clip_algorithm == GradClipAlgorithmType.VALUE:
            self._clip_val, trainer.gradient_clip_val = trainer.gradient_clip_val, 0.0

    def _resume_clipping(self, trainer: pl.Trainer) -> None:
        if self._clip_val is not None:
            trainer.gradient_clip_val, self._clip_val = self._clip_val, None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self._resume_clipping(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._resume_clipping(trainer)

    def gradient_counts(self) -> Mapping[str, int]:
        counts = dict(super().gradient_counts())
        if self.grow.needs_gradient:
            due = [index for index, step in enumerate(self._steps) if self._due(index, step)]
            counts |= {name: weight.numel() for index in due for name, weight in self._weights_of[index].items()}
        return counts

    def _updatable(self, index: int) -> dict[str, nn.Parameter]:
        return {name: weight for name, weight in super()._updatable(index).items() if weight.grad is not None}

    @torch.no_grad()
    def new_masks(self, optimizer: Optimizer, weights: Mapping[str, nn.Parameter], step: int) -> dict[str, Tensor]:
        fraction = self.drop_fraction(self.window.progress(step, self._total_steps), _lr_ratio(optimizer, weights))
        changed = {}
        for layer, name in enumerate(self.masks):
            grad = weights[name].grad if name in weights else None
            if grad is None:
                continue
            weight = weights[name].detach()
            generator = generator_for(self.seed, step, layer)
            n = math.floor(self.masks.counts[name] * fraction)
            drop, grow = self.drop(weight, grad, generator), self.grow(weight, grad, generator)
            changed[name] = self.new_mask(name, drop, grow, n)
        return changed

    def new_mask(self, name: str, drop_score: Tensor, grow_score: Tensor, n: int) -> Tensor:
        """The new mask of a layer that exchanges ``n`` of its connections."""
        return drop_and_grow(self.masks[name], drop_score, grow_score, n)

    def _note_explored(self, trainer: pl.Trainer) -> None:
        ever = 0
        for name, mask in self.masks.items():
            self._explored[name] |= pack(mask)
            ever += count_packed(self._explored[name])
        log_metrics(trainer, {f"{self._prefix}explored": ever / self.masks.size})

    def _state(self) -> dict[str, Any]:
        explored = {name: bits.cpu() for name, bits in self._explored.items()}
        return {**super()._state(), "explored": explored}

    def _load_state(self, state: Mapping[str, Any]) -> None:
        super()._load_state(state)
        # a static run, going on as a dynamic one, has explored what it has
        explored = state.get("explored") or {name: pack(mask) for name, mask in self.masks.items()}
        self._explored = {name: bits.to(self._weights[name].device) for name, bits in explored.items()}


class SET(DynamicSparseTraining):
    """Drop the smallest magnitudes, grow at random (Mocanu et al. 2018).

    Args:
        sparsity: as in :class:`SparseTraining`.
        dynamic: the other arguments of :class:`DynamicSparseTraining`, without ``grow``.

    Example:
        >>> SET(0.9, window=UpdateWindow(every=500)).grow
        Random()
    """

    def __init__(self, sparsity: float = 0.9, **dynamic: Any) -> None:
        super().__init__(sparsity, grow=Random(), **dynamic)


class RigL(DynamicSparseTraining):
    """Drop the smallest magnitudes, grow where the dense gradient is largest (Evci et al. 2020).

    Args:
        sparsity: as in :class:`SparseTraining`.
        dynamic: the other arguments of :class:`DynamicSparseTraining`, without ``grow``.

    Example:
        >>> RigL(0.9).window
        UpdateWindow(every=100, start=0.0, stop=0.75)
    """

    def __init__(self, sparsity: float = 0.9, **dynamic: Any) -> None:
        super().__init__(sparsity, grow=Gradient(), **dynamic)


def _lr_ratio(optimizer: Optimizer, weights: Mapping[str, nn.Parameter]) -> float:
    """Learning rate of the first sparse weight over its highest: that of a one-cycle schedule, else the initial."""
    first = next(iter(weights.values()))
    group = next(group for group in optimizer.param_groups if any(p is first for p in group["params"]))
    highest = float(group.get("max_lr", group.get("initial_lr", group["lr"])))
    return min(float(group["lr"]) / highest, 1.0) if highest else 1.0
