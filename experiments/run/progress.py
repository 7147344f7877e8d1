"""Progress of long work in a terminal, with the time that is left; nothing where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar, RichProgressBar
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from callbacks import HessianSpectrum
from callbacks.observer import callbacks_of

T = TypeVar("T")


class TimeLeft(ProgressColumn):
    """A column of the time left, at the pace since the beginning; rich's own column looks back only half a minute.

    What was done ``before`` (a field of the task) tells nothing of the pace.
    """

    def render(self, task: Task) -> Text:
        """Return hours, minutes and seconds, or dashes as long as nothing is done."""
        done = task.completed - task.fields.get("before", 0)
        if not done or task.remaining is None or task.elapsed is None:
            return Text("-:--:--")
        return Text(str(timedelta(seconds=round(task.elapsed / done * task.remaining))), style="progress.remaining")


def progress() -> Progress:
    """Return bars, one for each task: how many of how many are done, the time taken and the time left."""
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeLeft())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def track(bars: Progress, pieces: Sequence[T], description: str) -> Iterator[T]:
    """Yield the pieces, each counted as done when the next is asked for."""
    task = bars.add_task(description, total=len(pieces))
    for piece in pieces:
        yield piece
        bars.advance(task)


class HessianBar:
    """A bar for the Hessian that is measured, below those of a fit; the ``progress`` of a HessianSpectrum."""

    def __init__(self, fit: RichProgressBar) -> None:
        self._fit = fit
        self._bars: Progress | None = None
        self._task = TaskID(0)

    def __call__(self, done: int, of: int) -> None:
        """Show that ``done`` second derivatives of ``of`` are done."""
        if self._fit.progress is None:
            return
        if self._bars is not self._fit.progress:  # each fit has bars of its own
            self._bars = self._fit.progress
            self._task = self._bars.add_task("Hessian", total=of)
        if done == 1:
            self._bars.reset(self._task, total=of)
        self._bars.update(self._task, completed=done, visible=done < of)
        self._fit.refresh()


def with_bars(trainer: pl.Trainer) -> pl.Trainer:
    """Return the same Trainer with bars for its Hessians, and without any bars where there is no terminal."""
    bar = trainer.progress_bar_callback
    if isinstance(bar, ProgressBar) and not Console().is_terminal:
        bar.disable()
    elif isinstance(bar, RichProgressBar):
        for callback in callbacks_of(trainer):
            if isinstance(callback, HessianSpectrum):
                callback.progress = HessianBar(bar)
    return trainer
