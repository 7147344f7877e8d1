"""The file metrics.csv as a CSVLogger leaves it, whole or cut."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MetricCurve:
    """A number over optimizer steps, in the order in which it was logged.

    Args:
        steps: optimizer steps (n,).
        values: the number at these steps (n,), finite or not.
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def last(self) -> float:
        """Return the value that was logged last."""
        return float(self.values[-1])

    def before(self, step: int) -> MetricCurve:
        """Return only what was logged before an optimizer step."""
        return MetricCurve(self.steps[self.steps < step], self.values[self.steps < step])

    def followed_by(self, other: MetricCurve) -> MetricCurve:
        """Return this curve and after it the other one."""
        return MetricCurve(np.concatenate([self.steps, other.steps]), np.concatenate([self.values, other.values]))


def read_metrics(path: Path) -> tuple[dict[str, MetricCurve], list[str]]:
    """Read the curves in a metrics.csv, and say what is wrong with it, a sentence each.

    Cut lines (of a run that was killed or is still writing) and cells that are not numbers are left out.
    """
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = csv.reader(line.replace("\0", "") for line in file)
        header = next(lines, [])
        if "step" not in header:
            return {}, [f"{path}: no column 'step', so nothing of it is shown"]
        at = header.index("step")
        columns: dict[int, tuple[list[int], list[float]]] = {i: ([], []) for i, key in enumerate(header) if i != at}
        cut = wrong = 0
        for row in lines:
            if len(row) != len(header):
                cut += 1
                continue
            for index, cell in enumerate(row):
                if not cell or index == at:
                    continue
                try:
                    value, step = float(cell), _step(row[at])
                except ValueError:
                    wrong += 1
                    continue
                columns[index][0].append(step)
                columns[index][1].append(value)
    curves = {
        header[index]: MetricCurve(np.array(steps, np.int64), np.array(values, np.float64))
        for index, (steps, values) in columns.items()
        if steps and header[index] != "epoch"
    }
    left_out = {"cut lines": cut, "cells that are not numbers": wrong}
    return curves, [f"{path}: {count} {what} left out" for what, count in left_out.items() if count]


def _step(cell: str) -> int:
    """Return a number of steps.

    Raises:
        ValueError: the cell holds none, or one that no fit can reach.
    """
    step = int(cell)
    if not 0 <= step < 2**53:
        raise ValueError(cell)
    return step
