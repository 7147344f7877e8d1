"""LightningLook: how a method looks at a module and its data before the first step of a Trainer's fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..either_lightning import pl
from ..methods.method import Choice
from ..sparsity import Masks
from ..sparsity.rules.criteria import BatchLoss
from .probe import detached_copy, random_batches, to_device, training_loss, undisturbed


class LightningLook:
    """The :class:`callbacks.methods.FirstLook` of a Trainer's fit.

    Args:
        trainer: the Trainer of the fit, which has not begun.
        pl_module: the module that is trained; it is looked at through a copy.
    """

    def __init__(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._trainer, self._module = trainer, pl_module

    def __call__(
        self,
        choose: Choice,
        *,
        what: object,
        batches: int | Sequence[Any],
        loss: BatchLoss | None,
        seed: int,
    ) -> Masks:
        if isinstance(batches, int):
            self._trainer.fit_loop.setup_data()  # draws a random number, which it would draw later otherwise
        with undisturbed():
            given = self._batches(batches, seed)
            try:
                masks = choose(detached_copy(self._module), self._loss(loss), given)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, TypeError, AttributeError) as error:
                raise RuntimeError(
                    f"{what} could not run a detached copy of {type(self._module).__name__} ({error}): give a "
                    "loss that needs neither the Trainer nor what training_step keeps"
                ) from error
        # gradients on a GPU may differ in their last bits from rank to rank
        return Masks(self._trainer.strategy.broadcast(dict(masks)))

    def _batches(self, batches: int | Sequence[Any], seed: int) -> list[Any]:
        if isinstance(batches, int):
            count = batches * self._trainer.world_size  # the loader of a rank makes its part of each batch
            batches = random_batches(self._trainer.train_dataloader, count, "batches", seed)
        return [to_device(self._trainer, self._module, batch) for batch in batches]

    def _loss(self, given: BatchLoss | None) -> BatchLoss | None:
        if given is None and not self._module.automatic_optimization:
            return None

        def loss(module: Any, batch: Any) -> Tensor:
            with self._trainer.precision_plugin.train_step_context():
                return (given or training_loss)(module, batch)

        return loss
