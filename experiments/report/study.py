"""The runs of the paper's study, which keeps tables instead of the folders of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..run.command import one_line
from ..run.rows import read_rows
from .metrics_file import MetricCurve
from .runs import Run

CURVES = {"gradient_norm.csv": ("grad_flow/probe", "norm"), "gradient_change.csv": ("grad_flow/delta", "change")}


def find_studies(folder: Path) -> tuple[list[Run], list[str]]:
    """Return a run for every row of each runs.csv of ``python -m experiments paper`` at or below a folder.

    Files that cannot be read are left out, with a sentence each.
    """
    runs: list[Run] = []
    notes = []
    for path in sorted(folder.rglob("runs.csv")):
        try:
            runs += _read_study(path)
        except (ValueError, KeyError, OverflowError) as error:
            notes.append(f"{path}: its study is left out, {one_line(error)}")
    return runs, notes


def _read_study(path: Path) -> list[Run]:
    rows = read_rows(path)
    if not rows or not {"arm", "seed", "test_acc", "minutes", "steps"} <= rows[0].keys():
        return []
    curves = {key: _read_curves(path.with_name(name), column) for name, (key, column) in CURVES.items()}
    study = f"{rows[0].get('data', '')}/{path.parent.name}"
    return [
        Run(
            path.parent,
            name=row["arm"],
            study=study,
            seed=int(row["seed"]),
            record={
                **{key: row[key] for key in ("commit", "versions", "machine") if key in row},
                "steps": int(row["steps"]),
                "minutes": float(row["minutes"]),
                "scores": {"test/acc": float(row["test_acc"])},
                "status": "finished",
            },
            curves={key: of[row["arm"], row["seed"]] for key, of in curves.items() if (row["arm"], row["seed"]) in of},
        )
        for row in rows
    ]


def _read_curves(path: Path, column: str) -> Mapping[tuple[str, str], MetricCurve]:
    """Return the curves of a column, by arm and seed."""
    curves: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
    for row in read_rows(path):
        steps, values = curves.setdefault((row["arm"], row["seed"]), ([], []))
        steps.append(int(row["step"]))
        values.append(float(row[column]))
    return {run: MetricCurve(np.array(steps, np.int64), np.array(values)) for run, (steps, values) in curves.items()}
