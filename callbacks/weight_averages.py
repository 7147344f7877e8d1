"""Averages of weights that Lightning's callbacks keep: as sparse as the weights, without memory of dropped ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import StochasticWeightAveraging, WeightAveraging
from torch import Tensor, nn

from .observer import callbacks_of
from .sparsity.masks import zero_inactive


def averages_of(trainer: pl.Trainer) -> Iterator[nn.Module]:
    """The averaged copies of the module that ``WeightAveraging`` (EMA too) and ``StochasticWeightAveraging`` keep."""
    for callback in callbacks_of(trainer):  # Lightning has no public name for what they keep
        if isinstance(callback, WeightAveraging) and callback._average_model is not None:
            yield callback._average_model.module
        elif isinstance(callback, StochasticWeightAveraging) and callback._average_model is not None:
            yield callback._average_model


@torch.no_grad()
def apply_to_averages(trainer: pl.Trainer, masks: Mapping[str, Tensor]) -> None:
    """Set the averages of inactive weights to 0."""
    for average in averages_of(trainer):
        for name, mask in masks.items():
            weight = average.get_parameter(name)
            zero_inactive(weight, mask.to(weight.device))


def epochs_without_steps(trainer: pl.Trainer) -> int:
    """Epochs of ``trainer.max_epochs`` in which no optimizer steps: the last one after SWA, for the batch norms.

    ``StochasticWeightAveraging`` adds it to ``trainer.fit_loop.max_epochs`` when a fit starts.
    """
    added = trainer.max_epochs is not None and trainer.max_epochs != -1
    return sum(
        bool(callback._model_contains_batch_norm)
        for callback in callbacks_of(trainer)
        if added and isinstance(callback, StochasticWeightAveraging)
    )
