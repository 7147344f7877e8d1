"""History: numbers of every layer over the steps of a run, in a bounded table."""

from __future__ import annotations

import math
from collections.abc import Mapping

COLUMNS = 256


class History:
    """What was measured of layers at steps, at most 256 of them; when there are more, every other one is forgotten.

    Attributes:
        thinned: how often that has happened: measure that many times twice as rarely.
    """

    def __init__(self) -> None:
        self.thinned = 0
        self._columns: dict[int, dict[str, float]] = {}

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the values at a step, by layer."""
        self._columns[step] = {**self._columns.get(step, {}), **values}
        if len(self._columns) > COLUMNS:
            self._columns = {step: self._columns[step] for step in list(self._columns)[::2]}
            self.thinned += 1

    @property
    def steps(self) -> list[int]:
        return list(self._columns)

    @property
    def names(self) -> list[str]:
        """Of the layers, in the order they came."""
        return list(dict.fromkeys(name for column in self._columns.values() for name in column))

    @property
    def rows(self) -> list[list[float]]:
        """For each layer its values at the steps, NaN where there is none."""
        return [[column.get(name, math.nan) for column in self._columns.values()] for name in self.names]
