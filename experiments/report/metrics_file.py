"""metrics.csv, as a CSVLogger leaves it, whole or cut."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Curve:
    """A number over optimizer steps, in the order it was logged.

    Args:
        steps: (n,).
        values: (n,), finite or not.
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def last(self) -> float:
        return float(self.values[-1])

    def before(self, step: int) -> Curve:
        """Only what was logged before an optimizer step."""
        return Curve(self.steps[self.steps < step], self.values[self.steps < step])

    def then(self, other: Curve) -> Curve:
        """This one and then the other."""
        return Curve(np.concatenate([self.steps, other.steps]), np.concatenate([self.values, other.values]))


def read_metrics(path: Path) -> tuple[dict[str, Curve], list[str]]:
    """The curves in a metrics.csv, and what is wrong with it, a sentence each.

    A line that is cut (of a run that was killed, or is just writing) and cells that are not numbers are left out.
    """
    with path.open(newline="", errors="replace") as file:
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
                    value, step = float(cell), int(row[at])
                except ValueError:
                    wrong += 1
                    continue
                columns[index][0].append(step)
                columns[index][1].append(value)
    curves = {
        header[index]: Curve(np.array(steps, np.int64), np.array(values, np.float64))
        for index, (steps, values) in columns.items()
        if steps and header[index] != "epoch"
    }
    return curves, _notes(path, {"cut lines": cut, "cells that are not numbers": wrong})


def _notes(path: Path, counts: Mapping[str, int]) -> list[str]:
    return [f"{path}: {count} {what} left out" for what, count in counts.items() if count]
