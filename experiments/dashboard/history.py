"""A bounded table of numbers of every layer over the steps of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping

COLUMNS = 256


class History:
    """A table of layers by steps; when it is full, every other step goes, and measurements are due half as often.

    Args:
        every: one in ``every`` measurements is due.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self._columns: dict[int, dict[str, float]] = {}

    def due(self, count: int) -> bool:
        """Return whether the measurement number ``count``, from 0 on, is wanted."""
        return count % self.every == 0

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the values at a step, by layer."""
        self._columns[step] = {**self._columns.get(step, {}), **values}
        if len(self._columns) > COLUMNS:
            self._columns = {step: self._columns[step] for step in list(self._columns)[::2]}
            self.every *= 2

    @property
    def steps(self) -> list[int]:
        return list(self._columns)

    @property
    def names(self) -> list[str]:
        """Return the names of the layers, in the order in which they came."""
        return list(dict.fromkeys(name for column in self._columns.values() for name in column))

    @property
    def rows(self) -> list[list[float]]:
        """Return the values of each layer at the steps, NaN where there is none."""
        return [[column.get(name, math.nan) for column in self._columns.values()] for name in self.names]
