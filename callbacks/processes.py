"""Fits in other processes (``ddp_notebook``, ``ddp_fork``, ``ddp_spawn``): what callbacks learn there comes back.

Lightning brings weights and metrics back to the process that called ``Trainer.fit``, but nothing of callbacks, and
calls none of their hooks there. So the method itself is wrapped here: a courier goes with the Trainer into the other
processes, whoever starts them, and leaves a file. Lightning's own queue is no place for much: it is read when the
processes have ended, and they do not end before all of it has found room there.
"""

from __future__ import annotations

import functools
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from .either_lightning import of_either, pl, rank_zero_warn
from .files.safe_files import write_whole
from .observer import callbacks_of


class Returning(ABC):
    """What a callback is besides, if it holds results of a fit that are read in the process that called it.

    Attributes:
        missing: why the results of the last fit, in other processes, did not come back: a sentence, or nothing.
    """

    missing = ""

    def __new__(cls, *_: object, **__: object) -> Self:
        """Make a callback, for the Trainers of all that is imported by now."""
        bring_results_back()
        return super().__new__(cls)

    @abstractmethod
    def results(self) -> dict[str, Any]:
        """Return what a fit has left in this callback, as tensors and plain values."""

    @abstractmethod
    def take_results(self, results: dict[str, Any], module: nn.Module) -> None:
        """Hold the results of a fit that trained ``module`` in another process.

        Raises:
            ValueError: they do not belong to the module as it is in this process.
        """


class _Courier(pl.Callback):
    """Leaves the results of the callbacks beside it in a file, when it finds itself in another process.

    Args:
        path: of the file, in a folder that is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stayed = False  # the fit went on in the process that called it
        self._process = os.getpid()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.stayed = os.getpid() == self._process
        if self.stayed or trainer.local_rank or not self.path.parent.is_dir():
            return
        try:
            write_whole({callback.state_key: callback.results() for callback in _returning(trainer)}, self.path)
        except (OSError, RuntimeError) as error:  # torch raises the latter when the disk is full
            rank_zero_warn(
                f"what callbacks know after this fit could not be written to {str(self.path)!r} ({error}), so that "
                "only the weights come back to the process that called Trainer.fit: make room there, or set TMPDIR"
            )


def _returning(trainer: pl.Trainer) -> list[Any]:
    return [callback for callback in callbacks_of(trainer) if isinstance(callback, Returning)]


def bring_results_back() -> None:
    """Let ``Trainer.fit`` of every Lightning that is imported bring back what callbacks learn in other processes."""
    for trainer in of_either(pl.Trainer):
        fit: Callable[..., None] = trainer.fit  # type: ignore[attr-defined]
        if not hasattr(fit, "__wrapped__"):
            trainer.fit = _wrapped(fit)  # type: ignore[attr-defined]


def _wrapped(fit: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(fit)
    def fit_and_bring_back(trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        _fit_and_bring_back(trainer, fit, *args, **kwargs)

    return fit_and_bring_back


def _fit_and_bring_back(trainer: pl.Trainer, fit: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    returning = _returning(trainer)
    if trainer.strategy.launcher is None or not returning:
        fit(trainer, *args, **kwargs)
        return
    with tempfile.TemporaryDirectory() as folder:
        courier = _Courier(Path(folder) / "results.pt")
        callbacks_of(trainer).append(courier)
        try:
            fit(trainer, *args, **kwargs)
        finally:
            callbacks_of(trainer).remove(courier)
        if courier.stayed:
            return
        # written by this fit, in a folder that no other user can write to
        found = torch.load(courier.path, "cpu", weights_only=False) if courier.path.is_file() else {}
    _bring_back(trainer, returning, found)


def _bring_back(trainer: pl.Trainer, callbacks: list[Any], found: Mapping[str, dict[str, Any]]) -> None:
    where = f"{type(trainer.strategy).__name__} ({type(trainer.strategy.launcher).__name__})"
    for callback in callbacks:
        results = found.get(callback.state_key)
        if results is None:
            callback.missing = f"{where} trained in other processes, which left nothing on the disk of this one."
            continue
        try:
            callback.take_results(results, trainer.lightning_module)
            callback.missing = ""
        except ValueError as error:
            callback.missing = f"{where} trained in other processes, on another module than is here: {error}."
