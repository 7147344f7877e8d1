"""Groups of runs that differ in their seed alone."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .metrics_file import MetricCurve
from .runs import Run

BINS = 300  # points of a curve; a screen shows no more


@dataclass(frozen=True)
class Group:
    """The runs of one experiment.

    Args:
        label: a name that no other group has.
        runs: one run or more.
    """

    label: str
    runs: Sequence[Run]

    @property
    def seeds(self) -> str:
        """Return the number of runs, and the seeds that are known."""
        known = sorted(run.seed for run in self.runs if run.seed is not None)
        return f"{len(self.runs)}" + (f" ({', '.join(map(str, known))})" if known else "")

    def numbers(self, of: str) -> list[float]:
        """Return one number of each run that has it: a score, a logged key at its end, or a number of run.json."""
        numbers = []
        for run in self.runs:
            value = run.scores.get(of)
            if value is None and of in run.curves:
                value = run.curves[of].last
            if value is None:
                value = run.record.get(of, run.record.get("flops", {}).get(of))
            if isinstance(value, int | float) and np.isfinite(value):
                numbers.append(float(value))
        return numbers

    def mean(self, of: str) -> float | None:
        """Return the mean of :meth:`numbers`; None if no run has the number."""
        values = self.numbers(of)
        return statistics.fmean(values) if values else None

    def curve(self, key: str) -> NDArray[np.float64] | None:
        """Return steps, and mean, least and greatest of the runs, (4, at most BINS); None if no run has the key."""
        curves = [run.curves[key] for run in self.runs if key in run.curves]
        if not curves:
            return None
        end = max(int(curve.steps.max()) for curve in curves) + 1
        rows = np.stack([_bin(curve, end) for curve in curves])  # (runs, 2, bins)
        filled = np.isfinite(rows[:, 1]).any(axis=0)
        steps, values = rows[:, 0, filled], rows[:, 1, filled]
        shown = ((np.nanmean, steps), (np.nanmean, values), (np.nanmin, values), (np.nanmax, values))
        return np.stack([of(part, axis=0) for of, part in shown])


def _bin(curve: MetricCurve, end: int) -> NDArray[np.float64]:
    """Return mean step and mean value in each of BINS equal parts of [0, end); NaN where nothing finite was logged."""
    finite = np.isfinite(curve.values)
    steps, values = curve.steps[finite], curve.values[finite]
    bins = steps * min(BINS, end) // end
    counts = np.bincount(bins, minlength=BINS).astype(float)
    counts[counts == 0] = np.nan
    sums = np.stack([np.bincount(bins, of, minlength=BINS) for of in (steps, values)])
    return np.asarray(sums / counts)


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Return groups in the order in which their first runs come, with labels that distinguish them.

    A label is the name of the run. Where several groups have that name, the settings that differ between them follow,
    and where these are equal, too, the folder.
    """
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        key = (run.study, run.name, run.method, tuple(sorted(run.config.items())) or _sparsity(run))
        groups.setdefault(key, []).append(run)
    firsts: dict[str, list[Run]] = {}
    for first, *_ in groups.values():
        firsts.setdefault(first.name, []).append(first)
    labels = {id(run): label for name, alike in firsts.items() for run, label in _labels(name, alike)}
    return [Group(labels[id(members[0])], members) for members in groups.values()]


def _labels(name: str, firsts: list[Run]) -> list[tuple[Run, str]]:
    """Return labels for the first runs of all groups of one name."""
    if len(firsts) == 1:
        return [(firsts[0], name)]
    facts = [{"study": run.study, "method": run.method, "sparsity": _sparsity(run), **run.config} for run in firsts]
    keys = [key for key in dict.fromkeys(k for fact in facts for k in fact) if len({f.get(key) for f in facts}) > 1]
    settings = [key for key in keys if key in {k for run in firsts for k in run.config}]
    keys = settings or keys  # measurements differ because settings do, and are then not named
    labels = []
    for fact in facts:
        differences = (f"{key.rpartition('.')[2]} {fact[key]}" for key in keys if fact.get(key))
        labels.append(", ".join([name, *differences]))
    twice = {label for label in labels if labels.count(label) > 1}
    labels = [f"{label} [{run.folder}]" if label in twice else label for label, run in zip(labels, firsts, strict=True)]
    return list(zip(firsts, labels, strict=True))


def _sparsity(run: Run) -> str:
    return "" if run.sparsity is None else f"{run.sparsity:.3f}"
