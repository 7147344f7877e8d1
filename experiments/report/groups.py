"""Runs that differ in their seed alone, together."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .metrics_file import Curve
from .runs import Run

BINS = 300  # points of a curve; a screen shows no more


@dataclass(frozen=True)
class Group:
    """Runs of one experiment.

    Args:
        label: unlike those of all other groups.
        runs: one or more.
    """

    label: str
    runs: Sequence[Run]

    @property
    def seeds(self) -> str:
        """Those that are known, and how many runs there are."""
        known = sorted(run.seed for run in self.runs if run.seed is not None)
        return f"{len(self.runs)}" + (f" ({', '.join(map(str, known))})" if known else "")

    def numbers(self, of: str) -> list[float]:
        """One number of each run that has it: a score, a logged key at its end, or a number of run.json."""
        found = []
        for run in self.runs:
            value = run.scores.get(of)
            if value is None and of in run.curves:
                value = run.curves[of].last
            if value is None:
                value = run.record.get(of, run.record.get("flops", {}).get(of))
            if isinstance(value, int | float) and np.isfinite(value):
                found.append(float(value))
        return found

    def mean(self, of: str) -> float | None:
        values = self.numbers(of)
        return statistics.fmean(values) if values else None

    def curve(self, key: str) -> NDArray[np.float64] | None:
        """Steps, and mean, least and greatest of the runs, (4, at most BINS); None if no run has the key."""
        curves = [run.curves[key] for run in self.runs if key in run.curves]
        if not curves:
            return None
        end = max(int(curve.steps.max()) for curve in curves) + 1
        rows = np.stack([_binned(curve, end) for curve in curves])  # (runs, 2, bins)
        there = np.isfinite(rows[:, 1])
        some = there.any(axis=0)
        steps, values = rows[:, 0, some], rows[:, 1, some]
        shown = ((np.nanmean, steps), (np.nanmean, values), (np.nanmin, values), (np.nanmax, values))
        return np.stack([of(part, axis=0) for of, part in shown])


def _binned(curve: Curve, end: int) -> NDArray[np.float64]:
    """Mean step and mean value in each of BINS equal parts of [0, end); NaN where nothing finite was logged."""
    finite = np.isfinite(curve.values)
    steps, values = curve.steps[finite], curve.values[finite]
    places = steps * min(BINS, end) // end
    counts = np.bincount(places, minlength=BINS).astype(float)
    counts[counts == 0] = np.nan
    sums = np.stack([np.bincount(places, of, minlength=BINS) for of in (steps, values)])
    return np.asarray(sums / counts)


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Groups in the order in which their first runs come, with labels that tell them apart.

    A label is the name of the run; where several groups have it, also the settings that differ between them, and
    where that is not enough, the folder.
    """
    found: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        key = (run.study, run.name, run.method, tuple(sorted(run.config.items())) or _sparsity(run))
        found.setdefault(key, []).append(run)
    by_name: dict[str, list[list[Run]]] = {}
    for members in found.values():
        by_name.setdefault(members[0].name, []).append(members)
    labels = [_labels(name, groups) for name, groups in by_name.items()]
    label_of = {id(members): label for pairs in labels for members, label in pairs}
    return [Group(label_of[id(members)], members) for members in found.values()]


def _labels(name: str, groups: list[list[Run]]) -> list[tuple[list[Run], str]]:
    if len(groups) == 1:
        return [(groups[0], name)]
    firsts = [members[0] for members in groups]
    facts = [{"study": run.study, "method": run.method, "sparsity": _sparsity(run), **run.config} for run in firsts]
    keys = [key for key in dict.fromkeys(k for fact in facts for k in fact) if len({f.get(key) for f in facts}) > 1]
    settings = [key for key in keys if key in {k for run in firsts for k in run.config}]
    keys = settings or keys  # what was measured differs because of the settings
    labels = []
    for fact in facts:
        told = (f"{key.rpartition('.')[2]} {fact[key]}" for key in keys if fact.get(key))
        labels.append(", ".join([name, *told]))
    twice = {label for label in labels if labels.count(label) > 1}
    labels = [f"{label} [{run.folder}]" if label in twice else label for label, run in zip(labels, firsts, strict=True)]
    return list(zip(groups, labels, strict=True))


def _sparsity(run: Run) -> str:
    return "" if run.sparsity is None else f"{run.sparsity:.3f}"
