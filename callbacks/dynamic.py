"""Dynamic sparse training: the mask moves while the number of active weights stays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import GradClipAlgorithmType
from torch import Tensor, nn
from torch.optim import Optimizer

from .periodic import PeriodicUpdates, check_drop_fraction, lr_ratio
from .sparsity import (
    Cosine,
    Gradient,
    GradientAverages,
    Magnitude,
    Random,
    Schedule,
    Score,
    UpdateWindow,
    drop_and_grow,
    generator_for,
)
from .sparsity.sharding import is_sharded, whole


class DynamicSparseTraining(PeriodicUpdates):
    """Every ``window.every`` optimizer steps, drop some active weights of each layer and grow as many.

    An update whose weights or gradients are not finite is put off to the next step and counted. Grown
    weights start at exactly 0 with cleared optimizer state; a weight that is dropped and grown in the same
    update keeps its value. With several optimizers each counts its own steps and updates its own weights.
    Weights without a gradient are left alone.

    With small batches the gradient of a single step is noisy. With ``gradient_steps`` n the scores see the mean of
    the dense gradients of an update's step and the n - 1 before it, as from a batch n times as large. A step in
    which any weight or gradient is not finite adds nothing to the mean; an update that is put off sees the mean of
    all finite ones since its n steps began.

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
        gradient_steps: optimizer steps whose dense gradients an update averages, from 1 to ``window.every``.
        static: the other arguments of :class:`SparseTraining`.

    Raises:
        ValueError: ``drop_fraction`` starts or ends outside [0, 1]; every step would be replaced; ``gradient_steps``
            is below 1 or above ``window.every``; and as :class:`SparseTraining`.
    """

    works_sharded: ClassVar[bool] = True  # with FSDP2

    def __init__(
        self,
        sparsity: float = 0.9,
        *,
        drop: Score = Magnitude(),
        grow: Score = Random(),
        drop_fraction: Schedule = Cosine(0.3),
        window: UpdateWindow = UpdateWindow(),
        update_replaces_step: bool = True,
        gradient_steps: int = 1,
        **static: Any,
    ) -> None:
        super().__init__(sparsity, window=window, **static)
        check_drop_fraction(drop_fraction)
        if update_replaces_step and window.every == 1:
            raise ValueError("window.every is 1 and updates replace steps: no step is left to train")
        if not 1 <= gradient_steps <= window.every:
            raise ValueError(
                f"gradient_steps is {gradient_steps}; from one update to the next there are 1 to {window.every} steps "
                "(window.every) whose gradients can be averaged"
            )
        self.drop = drop
        self.grow = grow
        self.drop_fraction = drop_fraction
        self.update_replaces_step = update_replaces_step
        self.gradient_steps = gradient_steps
        self._averages = GradientAverages()
        self._clip_val: int | float | None = None  # the Trainer's, while suspended

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if self.gradient_steps > 1 and any(map(is_sharded, self._weights.values())):
            raise ValueError(
                f"gradient_steps is {self.gradient_steps}, but the weights are sharded over processes, whose gradients "
                "are not averaged over steps: pass 1, and larger batches"
            )
        self._clip_val = None
        if trainer.global_step == 0:
            self._averages.clear(self.masks)

    def update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer, step: int
    ) -> dict[str, Tensor]:
        index = trainer.optimizers.index(optimizer)
        if self._averages_at(index, step) and self._finite(weights := self._updatable(index)):
            self._averages.add({name: weight.grad for name, weight in weights.items() if weight.grad is not None})
        return super().update(trainer, pl_module, optimizer, step)

    def _averages_at(self, index: int, step: int) -> bool:
        """Whether the gradients of this step count for an update of this optimizer's weights, now or soon."""
        ahead = range(step, step + self.gradient_steps) if self.gradient_steps > 1 else ()
        return bool(ahead) and (self._deferred[index] or any(self.window.due(s, self._total_steps) for s in ahead))

    def masks_changed(self, trainer: pl.Trainer, optimizer: Optimizer, changed: Mapping[str, Tensor]) -> None:
        super().masks_changed(trainer, optimizer, changed)
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

    def _looks_at_all(self, index: int, step: int) -> bool:
        return self.grow.needs_gradient and (self._due(index, step) or self._averages_at(index, step))

    def _updatable(self, index: int) -> dict[str, nn.Parameter]:
        return {name: weight for name, weight in super()._updatable(index).items() if weight.grad is not None}

    @torch.no_grad()
    def new_masks(self, optimizer: Optimizer, weights: Mapping[str, nn.Parameter], step: int) -> dict[str, Tensor]:
        fraction = self.drop_fraction(self.window.progress(step, self._total_steps), lr_ratio(optimizer, weights))
        changed = {}
        for name, drop, grow in self._scores(weights, step):
            n = math.floor(self.masks.counts[name] * fraction)
            changed[name] = self.new_mask(name, drop, grow, n)
        if self._averages.momentum is None:
            self._averages.clear(self._members(optimizer))
        return changed

    def new_mask(self, name: str, drop_score: Tensor, grow_score: Tensor, n: int) -> Tensor:
        """The new mask of a layer that exchanges ``n`` of its connections."""
        return drop_and_grow(self.masks[name], drop_score, grow_score, n, active=self.masks.counts[name])

    def _scores(self, weights: Mapping[str, nn.Parameter], step: int) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Drop and grow scores of each of ``weights``; what is averaged stands for its gradient."""
        for layer, name in enumerate(self.masks):
            if name not in weights or (grad := self._averages.values.get(name, weights[name].grad)) is None:
                continue
            weight, grad = whole(weights[name].detach()), whole(grad)
            generator = generator_for(self.seed, step, layer)
            yield name, self.drop(weight, grad, generator), self.grow(weight, grad, generator)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "averages": self._averages.state_dict()}

    def _load_state(self, state: Mapping[str, Any]) -> None:
        super()._load_state(state)
        devices = {name: weight.device for name, weight in self._weights.items()}
        self._averages.load_state_dict(state.get("averages", {"values": {}, "added": {}}), devices)


class SET(DynamicSparseTraining):
    """Drop the smallest magnitudes, grow at random (Mocanu et al. 2018).

    Args:
        sparsity: as in :class:`SparseTraining`.
        dynamic: the other arguments of :class:`DynamicSparseTraining`, without ``grow``.

    Example:
        >>> SET(0.9, window=UpdateWindow(every=500)).grow
        Random()
    """

    works_sharded: ClassVar[bool] = True  # with FSDP2

    def __init__(self, sparsity: float = 0.9, **dynamic: Any) -> None:
        super().__init__(sparsity, grow=Random(), **dynamic)


class RigL(DynamicSparseTraining):
    """Drop the smallest magnitudes, grow where the dense gradient is largest (Evci et al. 2020).

    Args:
        sparsity: as in :class:`SparseTraining`.
        dynamic: the other arguments of :class:`DynamicSparseTraining`, without ``grow``.

    Reference:
        Liu et al. 2021 (ITOP) let RigL explore more in a long run: rare updates that exchange much, here
        ``RigL(0.9, drop_fraction=Cosine(0.5), window=UpdateWindow(every=4000))`` for batches of 128. Their rate of
        exploration R_s is ``sparsity/explored``. Where the paper's batches of 4096 do not fit, ``gradient_steps``
        averages the gradient over small ones.

    Example:
        >>> RigL(0.9).window
        UpdateWindow(every=100, start=0.0, stop=0.75)
    """

    works_sharded: ClassVar[bool] = True  # with FSDP2

    def __init__(self, sparsity: float = 0.9, **dynamic: Any) -> None:
        super().__init__(sparsity, grow=Gradient(), **dynamic)
