"""The share of a run's time for what training does not need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TimeBudget:
    """A share of the time since the start, which is spent on work whose last cost is remembered.

    Args:
        share: the share of the time, in [0, 1].
        clock: gives seconds.

    Raises:
        ValueError: ``share`` is outside its range.

    Example:
        >>> budget = TimeBudget(0.01)
        >>> if budget.affords("pictures"):
        ...     with budget.spend("pictures"):
        ...         pass
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.perf_counter) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share is {share}; it is a part of the run's time, in [0, 1]")
        self.share = share
        self.clock = clock
        self.spent = 0.0  # seconds
        self._started = clock()
        self._last: dict[str, float] = {}

    def affords(self, what: str) -> bool:
        """Return whether ``what`` stays within the share if it costs as much as last time, or nothing if unknown."""
        return self.spent + self._last.get(what, 0.0) <= self.share * (self.clock() - self._started)

    @contextmanager
    def spend(self, what: str) -> Iterator[None]:
        """Measure what is done inside."""
        before = self.clock()
        try:
            yield
        finally:
            self._last[what] = self.clock() - before
            self.spent += self._last[what]
