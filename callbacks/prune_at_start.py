"""PruneAtStart: the mask is chosen once, from the weights a fit starts with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from .probe import detached_copy, random_batches, to_device, training_loss, undisturbed
from .sparse_training import SparseTraining
from .sparsity import (
    Criterion,
    Dense,
    Distribution,
    Initialization,
    Masks,
    OneShotMagnitude,
    Uniform,
    choose_masks,
)
from .sparsity.one_shot import Scope


class PruneAtStart(SparseTraining):
    """Prune before the first step, then train with the mask fixed.

    The criterion looks at the module's own weights, initial or loaded, and at batches of the training data, on a copy:
    the run's data order, random numbers and norm statistics stay as they are. All ranks take the masks that
    rank 0 chose.

    Args:
        sparsity: as in :class:`SparseTraining`.
        criterion: which weights to keep: ``OneShotMagnitude()``, ``SNIP()``, ``GraSP()`` or ``SynFlow()``.
        scope: ``"global"`` keeps the best of all layers together, as in the papers of all four; ``"layer"`` keeps in
            each layer what ``distribution`` gives it.
        batches: for the criterion: a number of batches (over all ranks) of random training samples, or a list of
            batches in the form the module's ``training_step`` takes.
        loss: ``(module, batch) -> loss``; the default is ``module.training_step(batch, 0)``.
        distribution: how the sparsity differs from layer to layer; with a global scope only the sum counts.
        initialization: values after pruning; the default keeps those the criterion saw.
        static: the other arguments of :class:`SparseTraining`; ``seed`` draws the samples.

    Raises:
        ValueError: ``batches`` is none; at the start of the fit, when a layer would be left without a weight, scores
            are not finite, or the training data is not one DataLoader; and as :class:`SparseTraining`.
        RuntimeError: the criterion cannot run a copy of the module by itself: give ``loss``.

    Example:
        >>> from callbacks.sparsity import SNIP
        >>> PruneAtStart(0.9, criterion=SNIP(), batches=5).criterion
        SNIP()
    """

    def __init__(
        self,
        sparsity: float = 0.9,
        *,
        criterion: Criterion = OneShotMagnitude(),
        scope: Scope = "global",
        batches: int | Sequence[Any] = 1,
        loss: Callable[[pl.LightningModule, Any], Tensor] | None = None,
        distribution: Distribution = Uniform(),
        initialization: Initialization = Dense(),
        **static: Any,
    ) -> None:
        super().__init__(sparsity, distribution=distribution, initialization=initialization, **static)
        if scope not in ("layer", "global"):
            raise ValueError(f"scope is {scope!r}; choose layer or global")
        if (batches if isinstance(batches, int) else len(batches)) < 1:
            raise ValueError(f"batches is {batches}; give a number, 1 or more, or a list of at least one batch")
        self.criterion = criterion
        self.scope = scope
        self.batches = batches
        self.loss = loss

    def first_masks(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Masks:
        if self.criterion.uses_data and isinstance(self.batches, int):
            trainer.fit_loop.setup_data()  # which draws a random number, here or later
        with undisturbed():
            batches = self._batches(trainer, pl_module) if self.criterion.uses_data else []
            try:
                masks = choose_masks(
                    detached_copy(pl_module),
                    self._target,
                    self.criterion,
                    scope=self.scope,
                    loss=self._loss_of(trainer, pl_module),
                    batches=batches,
                )
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, TypeError, AttributeError) as error:
                raise RuntimeError(
                    f"{self.criterion} could not run a detached copy of {type(pl_module).__name__} ({error}): give a "
                    "loss that needs neither the Trainer nor what training_step keeps"
                ) from error
        # gradients on a GPU may differ in their last bits from rank to rank
        return Masks(trainer.strategy.broadcast(dict(masks)))

    def _batches(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> list[Any]:
        batches = self.batches
        if isinstance(batches, int):
            count = batches * trainer.world_size  # a rank's loader makes its part of a batch
            batches = random_batches(trainer.train_dataloader, count, "batches", self.seed)
        return [to_device(trainer, pl_module, batch) for batch in batches]

    def _loss_of(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Callable[[nn.Module, Any], Tensor] | None:
        if self.loss is None and not pl_module.automatic_optimization:
            return None

        def loss(module: Any, batch: Any) -> Tensor:
            with trainer.precision_plugin.train_step_context():
                return (self.loss or training_loss)(module, batch)

        return loss

    def _wanted(self, counts: dict[str, int]) -> dict[str, int]:
        wanted = super()._wanted(counts)
        as_many = sum(counts.values()) == sum(wanted.values())
        return counts if self.scope == "global" and as_many else wanted
