"""What the owner of the masks tells other callbacks."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.optim import Optimizer

from .either_lightning import pl


class MaskObserver(pl.Callback):
    """A callback that the owner of the masks calls, wherever either stands in the Trainer's list.

    Lightning calls callbacks in the order they are listed, and the owner masks gradients in place; an
    observer is told before that happens.
    """

    def on_dense_gradients(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer, masks: Mapping[str, Tensor]
    ) -> None:
        """Gradients are complete (accumulated, reduced over ranks, unscaled), neither masked nor clipped."""

    def on_before_mask_update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, masks: Mapping[str, Tensor]
    ) -> None:
        """The masks are about to change; weights and ``masks`` are still the old ones."""

    def on_after_mask_update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, masks: Mapping[str, Tensor]
    ) -> None:
        """The masks have changed; weights and ``masks`` are the new ones."""


def callbacks_of(trainer: pl.Trainer) -> list[pl.Callback]:
    """The Trainer's callbacks, in their order."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning does not declare it
    return callbacks
