"""The paper's claims on LeNet-5, held against our rows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..analysis import barrier

Row = Mapping[str, str]
Tables = Mapping[str, Sequence[Row]]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, in a form that can fail.

    Args:
        text: the claim, with its bar.
        measure: the rows of all tables -> what we found, and whether the claim holds; raises LookupError or
            StatisticsError where the runs are not there yet.
        otherwise: why it may not hold here; shown if it does not.
    """

    text: str
    measure: Callable[[Tables], tuple[str, bool]]
    otherwise: str = "no cause found yet"


def mean_accuracy(tables: Tables, *arms: str) -> float:
    """Return the mean test accuracy of all runs of some arms, failed ones included, in %."""
    return statistics.mean(100 * float(row["test_acc"]) for row in tables["runs"] if row["arm"] in arms)


TICKETS = tuple(f"lottery-{ticket}" for ticket in range(5))


def _dense(tables: Tables) -> tuple[str, bool]:
    mean = mean_accuracy(tables, "dense")
    return f"{mean:.2f} %", mean >= 99.0


def _pruned(tables: Tables) -> tuple[str, bool]:
    mean = mean_accuracy(tables, "pruned")
    return f"{mean:.2f} %", abs(mean - 98.5) <= 0.3


def _tickets(tables: Tables) -> tuple[str, bool]:
    pruned, lottery = mean_accuracy(tables, "pruned"), mean_accuracy(tables, *TICKETS)
    return f"{lottery:.2f} % of tickets, {pruned:.2f} % pruned", pruned - lottery <= 0.6


def _order(tables: Tables) -> tuple[str, bool]:
    rigl, set_, scratch = (mean_accuracy(tables, f"{method}-unit") for method in ("rigl", "set", "scratch"))
    return f"{rigl:.2f}, {set_:.2f}, {scratch:.2f} %", rigl >= 97.8 and rigl > set_ >= scratch >= 96.5


def _stuck(tables: Tables) -> tuple[str, bool]:
    runs = [row for row in tables["runs"] if row["arm"] == "scratch-dense"]
    if not runs:
        raise LookupError("no runs")
    failed = sum(int(row["failed"]) for row in runs)
    return f"{failed} of {len(runs)}", failed > 0


def _group(tables: Tables, name: str, column: str) -> float:
    return statistics.mean(float(row[column]) for row in tables["similarity"] if row["group"].startswith(name))


def _disagreement(tables: Tables) -> tuple[str, bool]:
    lottery, pruned, scratch = (
        _group(tables, group, "disagreement") for group in ("lottery", "diff. pruned", "scratch (diff. init)")
    )
    return f"{lottery:.4f}, {pruned:.4f}, {scratch:.4f}", lottery < pruned < scratch


def _ensembles(tables: Tables) -> tuple[str, bool]:
    lottery, pruned = (
        _group(tables, group, "ensemble") - _group(tables, group, "accuracy") for group in ("lottery", "diff. pruned")
    )
    return f"{lottery:+.2f} and {pruned:+.2f} points", lottery < 0.25 and pruned > 0.4


def _barriers(tables: Tables) -> tuple[str, bool]:
    heights: dict[str, list[float]] = {"lottery": [], "scratch": []}
    lines: dict[tuple[str, str], dict[float, float]] = {}
    for row in tables["interpolation"]:
        if row["from"] == "end":
            lines.setdefault((row["arm"], row["seed"]), {})[float(row["alpha"])] = float(row["loss"])
    for (arm, _), line in lines.items():
        heights[arm.split("-")[0]].append(barrier(list(line.values()), list(line)))
    lottery, scratch = (statistics.median(heights[kind]) for kind in ("lottery", "scratch"))
    most, least = max(heights["lottery"]), min(heights["scratch"])
    shown = f"{lottery:.3f} ({most:.3f} at most) and {scratch:.2f} ({least:.2f} at least)"
    return shown, lottery < 0.05 and scratch > 1.0


def _changes(tables: Tables) -> tuple[str, bool]:
    means = {}
    for method in ("rigl", "set", "rigl-inverted"):
        values = [
            float(row["change"])
            for row in tables["gradient_change"]
            if row["arm"] == f"{method}-unit" and int(row["step"]) <= 1000
        ]
        means[method] = statistics.mean(values)
    rigl, set_, inverted = means.values()
    return f"{rigl:+.2f}, {set_:+.2f}, {inverted:+.3f}", rigl > set_ and abs(inverted) < 0.05


CLAIMS = [
    Claim("dense reaches 99.0 %", _dense),
    Claim("gradual pruning reaches 98.5 +- .3 %", _pruned),
    Claim("lottery tickets come within .6 points of the pruned solution", _tickets),
    Claim("RigL+ (at least 97.8 %) > SET+ >= scratch+ (at least 96.5 %)", _order),
    Claim("with a masked dense initialization some runs never train", _stuck),
    Claim("disagreement: runs of a ticket < differently pruned < scratch", _disagreement),
    Claim("an ensemble of one ticket's runs gains less than .25 points, one of pruned runs more than .4", _ensembles),
    Claim("barrier to the pruned solution: tickets below .05, scratch above 1.0 (medians)", _barriers),
    Claim("updates change the gradient norm in the first 1,000 steps: RigL+ most, inverted RigL by about 0", _changes),
]


def judge(claim: Claim, tables: Tables) -> tuple[str, str]:
    """Return what was measured and the verdict; ("-", "not run yet") where rows are missing."""
    try:
        measured, holds = claim.measure(tables)
    except (LookupError, statistics.StatisticsError):
        return "-", "not run yet"
    return measured, "holds" if holds else f"**does not hold**: {claim.otherwise}"
