"""Averages of weights that Lightning's callbacks keep: as sparse as the weights, without memory of dropped ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from .either_lightning import StochasticWeightAveraging, WeightAveraging, of_either, pl
from .observer import callbacks_of
from .sparsity.masks.zeros import count_outside, zero_inactive


def averaging_callbacks(trainer: pl.Trainer) -> list[pl.Callback]:
    """Return the callbacks of a Trainer that average weights."""
    return [c for c in callbacks_of(trainer) if isinstance(c, of_either(WeightAveraging, StochasticWeightAveraging))]


def averages_of(callbacks: Iterable[pl.Callback]) -> list[nn.Module]:
    """Return the averaged copies of the module that these callbacks keep, once they have begun to."""
    averages: list[nn.Module] = []
    for callback in callbacks:
        average = getattr(callback, "_average_model", None)  # Lightning has no public name for what they keep
        if average is not None and isinstance(callback, of_either(WeightAveraging)):
            averages.append(average.module)
        elif average is not None and isinstance(callback, of_either(StochasticWeightAveraging)):
            averages.append(average)
    return averages


@torch.no_grad()
def apply_to_averages(callbacks: Iterable[pl.Callback], masks: Mapping[str, Tensor]) -> None:
    """Set the averages of inactive weights to 0."""
    for average in averages_of(callbacks):
        for name, mask in masks.items():
            weight = average.get_parameter(name)
            zero_inactive(weight, mask.to(weight.device))


def check_averages(callbacks: Iterable[pl.Callback], masks: Mapping[str, Tensor], step: int) -> None:
    """Refuse averages that remember inactive weights.

    Raises:
        RuntimeError: one outside the masks is not 0.
    """
    for average in averages_of(callbacks):
        if leaks := count_outside({name: average.get_parameter(name) for name in masks}, masks):
            raise RuntimeError(
                f"{leaks} averages of weights outside the masks are not 0 at step {step}: let the "
                "avg_fn of the averaging callback average each entry by itself, and 0 with 0 to 0"
            )


def epochs_without_steps(trainer: pl.Trainer) -> int:
    """Return the epochs of ``trainer.max_epochs`` without optimizer steps: the last one after SWA, for batch norms.

    ``StochasticWeightAveraging`` adds it to ``trainer.fit_loop.max_epochs`` when a fit starts.
    """
    added = trainer.max_epochs is not None and trainer.max_epochs != -1
    return sum(
        bool(getattr(callback, "_model_contains_batch_norm", False))
        for callback in callbacks_of(trainer)
        if added and isinstance(callback, of_either(StochasticWeightAveraging))
    )
