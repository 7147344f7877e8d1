"""The progress of the Hessians that the processes of a study measure."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.context import BaseContext

from rich.progress import Progress, TaskID


class HessianProgress:
    """Counts that the processes of a pool share with the process that began them, without waiting for one another.

    Args:
        context: the context of the pool; its processes are given this object when they begin.
        runs: the names of the runs.
    """

    def __init__(self, context: BaseContext, runs: Sequence[str]) -> None:
        self.runs = runs
        self._done = context.RawArray("q", len(runs))
        self._all = context.RawArray("q", len(runs))
        self._tasks: dict[str, TaskID] = {}

    def note(self, run: str, done: int, of: int) -> None:
        """Note that ``done`` second derivatives of ``of`` are done."""
        index = self.runs.index(run)
        self._done[index], self._all[index] = done, of

    def draw(self, bars: Progress) -> None:
        """Draw a bar for every Hessian that is being measured."""
        for run, done, of in zip(self.runs, self._done, self._all, strict=True):
            if not of:
                continue
            if run not in self._tasks:
                self._tasks[run] = bars.add_task(f"Hessian of {run}", total=of)
            task = self._tasks[run]
            if done < bars.tasks[task].completed:
                bars.reset(task, total=of)  # the next Hessian of this run
            bars.update(task, completed=done, visible=done < of)
