"""The report as one HTML file: table, charts, pictures, and what is missing."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from . import charts
from .charts import Chart
from .groups import Group
from .runs import Run

TEMPLATE = Path(__file__).with_name("page.html")
SCORES = ("test/acc", "test/pck@0.2", "test/pckh@0.5")  # those that are shown against costs, first come

NOTHING = "\N{EN DASH}"
RECORDED = ("commit", "versions", "machine")


@dataclass(frozen=True)
class Column:
    """A column of the table: title, number of runs by name, how it is written, and which end of it is best."""

    title: str
    of: str
    form: Callable[[float], str]
    best: Callable[[Sequence[float]], float] | None = None


def render(
    title: str,
    groups: Sequence[Group],
    distances: Sequence[dict[str, Any]],
    pictures: Sequence[Mapping[str, str]],
    beside: Path,
) -> str:
    """The file's text.

    Args:
        title: plain text, as all labels.
        groups: one or more.
        distances: rows for the chart of distances.
        pictures: ``text`` and ``data`` (a JPEG in base64) of each.
        beside: folder of the file.
    """
    runs = [run for group in groups for run in group.runs]
    found = [chart for chart in _charts(groups, distances) if chart.figures]
    shown = {f"c{index}": chart for index, chart in enumerate(found)}
    figures = {
        name: [json.loads(figure.to_json()) for figure in chart.figures.values()] for name, chart in shown.items()
    }
    columns = [column for column in _columns(groups) if any(group.numbers(column.of) for group in groups)]
    page = Environment(autoescape=True, trim_blocks=True).from_string(TEMPLATE.read_text())
    return page.render(
        title=title,
        summary=_summary(groups),
        columns=["run", *["method"] * any(run.method for run in runs), *(c.title for c in columns), "runs (seeds)"],
        rows=_rows(groups, columns),
        charts=[{"id": name, "title": c.title, "text": c.text, "names": list(c.figures)} for name, c in shown.items()],
        pictures=pictures,
        notes=[note for run in runs for note in run.notes],
        origins=_origins(runs, beside),
        figures=_packed(json.dumps(figures)),
        library=_packed(get_plotlyjs()),
    )


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _summary(groups: Sequence[Group]) -> str:
    runs = [run for group in groups for run in group.runs]
    studies = sorted({run.study for run in runs if run.study})
    on = f" on {', '.join(studies)}" if studies else ""
    return f"{len(runs)} run{'s' * (len(runs) > 1)} in {len(groups)} setting{'s' * (len(groups) > 1)}{on}."


def _columns(groups: Sequence[Group]) -> list[Column]:
    scores = sorted({key for group in groups for run in group.runs for key in run.scores})
    percent = [key for key in scores if key not in ("test/loss",)]
    return [
        Column("sparsity", "sparsity/actual", lambda value: f"{100 * value:.2f} %"),
        *(Column(f"{key}, %", key, lambda value: f"{100 * value:.2f}", max) for key in percent),
        *(Column("test/loss", key, lambda value: f"{value:.4f}", min) for key in scores if key not in percent),
        Column("steps", "steps", lambda value: f"{value:,.0f}"),
        Column("training FLOPs", "training", lambda value: f"{value:.2e}", min),
        Column("FLOPs a sample", "forward", lambda value: f"{value:.2e}", min),
        Column("MB", "bytes", lambda value: f"{value / 1e6:.3g}", min),
        Column("minutes", "minutes", lambda value: f"{value:.1f}"),
    ]


def _rows(groups: Sequence[Group], columns: Sequence[Column]) -> list[dict[str, Any]]:
    best = {}
    for column in columns:
        means = [mean for group in groups if (mean := group.mean(column.of)) is not None]
        if column.best and _differ(means):
            best[column.title] = column.best(means)
    rows = []
    for index, group in enumerate(groups):
        methods = sorted({run.method for run in group.runs if run.method})
        cells: list[dict[str, Any]] = [{"pieces": re.split(r"(?<=,)(?=\S)", group.label)}]
        if any(run.method for other in groups for run in other.runs):
            cells.append({"text": ", ".join(methods) or NOTHING})
        for column in columns:
            values = group.numbers(column.of)
            if not values:
                cells.append({"text": NOTHING})
                continue
            mean = statistics.fmean(values)
            spread = f" ± {column.form(statistics.stdev(values)).removesuffix(' %')}" if _differ(values) else ""
            text = f"{column.form(mean).removesuffix(' %')}{spread}{' %' * column.form(mean).endswith(' %')}"
            cells.append({"text": text, "best": best.get(column.title) == mean})
        open_ends = sorted(
            {status for run in group.runs if (status := run.record.get("status", "")) not in ("", "finished")}
        )
        cells.append({"text": ", ".join([group.seeds, *open_ends]), "bad": bool(open_ends)})
        rows.append({"cells": cells, "colour": charts.style(index)["color"], "symbol": charts.marker(index)["symbol"]})
    return rows


def _differ(values: Sequence[float]) -> bool:
    return len(values) > 1 and max(values) - min(values) > 1e-9 * abs(max(values))


def _charts(groups: Sequence[Group], distances: Sequence[dict[str, Any]]) -> list[Chart]:
    """All of them; those that nothing was measured for are without figures."""
    score = next((key for key in SCORES if any(key in run.scores for group in groups for run in group.runs)), "")

    def curve(key: str, axis: str, title: str, text: str, **how: bool) -> Chart:
        return Chart(title, text, _one(charts.curves(groups, key, axis, **how)))

    return [
        Chart(
            "Accuracy against training cost",
            "Up and to the left is better; bars are a standard deviation over seeds.",
            _one(charts.accuracy_against_flops(groups, score)),
        ),
        curve(
            "grad_flow/probe",
            "norm",
            "Gradient flow on fixed samples",
            "Norm of the gradient of all active weights on "
            "the same training samples throughout; a network that hardly moves shows it here first.",
            log=True,
        ),
        curve(
            "grad_flow/active",
            "norm",
            "Gradient flow of the training batches",
            "Norm of the gradient that moves the network, before clipping.",
            log=True,
        ),
        curve(
            "grad_flow/inactive",
            "norm",
            "Gradient behind the masks",
            "Norm of the gradient that masks hide: what growth could use.",
            log=True,
        ),
        curve(
            "grad_flow/delta",
            "change",
            "What mask updates do to gradient flow",
            "Change of the norm on fixed samples at each update; above 0 it was improved.",
        ),
        Chart(
            "Gradient flow by layer",
            "Norm of the active gradient of every layer; a dark row is a layer that learns nothing.",
            _of_runs(groups, charts.layers_over_time),
        ),
        curve("train/loss", "loss", "Training loss", "Means over parts of the run."),
        curve("val/acc", "accuracy, %", "Validation accuracy", "On images that are held out.", percent=True),
        curve("val/pck@0.2", "PCK@0.2, %", "Validation PCK", "Joints found within a fifth of the torso.", percent=True),
        Chart(
            "Sparsity by layer",
            "At the end, in the order of the network.",
            _one(charts.sparsity_of_layers(groups)),
        ),
        curve("sparsity/actual", "sparsity, %", "Sparsity over time", "Measured on the weights.", percent=True),
        curve(
            "sparsity/churn",
            "weights, %",
            "Mask churn",
            "Share of the active weights that each update exchanged.",
            percent=True,
        ),
        curve(
            "sparsity/explored",
            "weights, %",
            "Exploration",
            "Share of all weights that were ever active.",
            percent=True,
        ),
        curve(
            "hessian/largest",
            "eigenvalue",
            "Largest eigenvalue of the Hessian",
            "Of the loss on fixed samples.",
            log=True,
        ),
        Chart(
            "Distances from the pruned solution",
            "Points below the line end nearer to it than they began. A winning ticket begins near and ends near.",
            _one(charts.distances(distances, groups)),
        ),
    ]


def _one(figure: Any) -> dict[str, Any]:
    return {} if figure is None else {"": figure}


def _of_runs(groups: Sequence[Group], draw: Callable[[Run], Any]) -> dict[str, Any]:
    """A figure of the first run in each group that gives one."""
    drawn = {group.label: next((f for run in group.runs if (f := draw(run)) is not None), None) for group in groups}
    return {label: figure for label, figure in drawn.items() if figure is not None}


def _origins(runs: Sequence[Run], beside: Path) -> list[str]:
    said = {key: sorted({str(run.record[key]) for run in runs if run.record.get(key)}) for key in RECORDED}
    lines = [f"{key}: {'; '.join(values)}" for key, values in said.items() if values]
    folders = sorted({os.path.relpath(run.folder, beside) for run in runs})
    more = f" and {len(folders) - 8} more" if len(folders) > 8 else ""
    return [*lines, f"folders, from that of this file: {', '.join(folders[:8])}{more}"]
