"""Progress of long work in a terminal, with the time that is left; nothing where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

T = TypeVar("T")


class TimeLeft(ProgressColumn):
    """Time for what is left, at the pace since the beginning; rich's own looks back half a minute, less than one run.

    What was done ``before`` (a field of the task) tells nothing of the pace.
    """

    def render(self, task: Task) -> Text:
        """Hours, minutes and seconds, or dashes as long as nothing is done."""
        done = task.completed - task.fields.get("before", 0)
        if not done or task.remaining is None or task.elapsed is None:
            return Text("-:--:--")
        return Text(str(timedelta(seconds=round(task.elapsed / done * task.remaining))), style="progress.remaining")


def progress() -> Progress:
    """A bar for each task: how many of how many, how long so far, how long still."""
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeLeft())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def tracked(bars: Progress, pieces: Sequence[T], description: str) -> Iterator[T]:
    """The pieces, each counted when the next is asked for."""
    task = bars.add_task(description, total=len(pieces))
    for piece in pieces:
        yield piece
        bars.advance(task)


def without_terminal_quiet(trainer: pl.Trainer) -> pl.Trainer:
    """The same Trainer; its progress bar says nothing where there is no terminal to draw it in."""
    if isinstance(trainer.progress_bar_callback, ProgressBar) and not Console().is_terminal:
        trainer.progress_bar_callback.disable()
    return trainer
