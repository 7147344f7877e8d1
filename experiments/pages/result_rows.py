"""Means, figures and origins that pages make from rows of results."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ..run.rows import read_rows

Row = Mapping[str, str]


def by_config(rows: Sequence[Row], score: str) -> dict[str, list[Row]]:
    """Group rows by configuration, the one with the highest mean of a column first, and order them by seed."""
    configs: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        configs.setdefault(row["config"], []).append(row)
    return dict(sorted(configs.items(), key=lambda item: -mean(item[1], score)))


def mean(rows: Sequence[Row], column: str) -> float:
    """Return the mean of a column of numbers."""
    return statistics.mean(float(row[column]) for row in rows)


def distinct(rows: Sequence[Row], column: str) -> str:
    """Return the different values of a column."""
    return "/".join(sorted({row[column] for row in rows}))


def origin_of(rows: Sequence[Row]) -> str:
    """Return a sentence with commits, machines and versions."""
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    where = "; ".join(sorted({f"{row['machine']}; {row['versions']}" for row in rows}))
    return f"Commits {commits}; {where}."


def draw_against_cost(rows_of: Path, cost: tuple[str, str], score: tuple[str, str], *, times: float = 1) -> None:
    """Draw a score against a cost, as ``<name>_cost.png`` beside the rows.

    A point is a run; a line joins the means of configurations that differ in the number at the end of their name.

    Args:
        rows_of: CSV file.
        cost: column and label.
        score: column and label.
        times: what the score is multiplied by.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    families: dict[str, list[Sequence[Row]]] = {}
    for config, rows in by_config(read_rows(rows_of), score[0]).items():
        families.setdefault(re.sub(r"_\d+$", "", config), []).append(rows)
    for family, members in families.items():
        means = sorted((mean(rows, cost[0]), times * mean(rows, score[0])) for rows in members)
        [line] = axes.plot(*zip(*means, strict=True), label=family)
        points = [(float(row[cost[0]]), times * float(row[score[0]])) for rows in members for row in rows]
        axes.plot(*zip(*points, strict=True), "o", color=line.get_color())
    axes.set_xlabel(cost[1])
    axes.set_ylabel(score[1])
    axes.grid(visible=True, alpha=0.25)
    axes.legend(fontsize="small")
    figure.savefig(rows_of.with_name(f"{rows_of.stem}_cost.png"), dpi=120, metadata={"Software": None})
