"""The HTML file of a report: table, charts, pictures, and what is missing."""

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
from .groups import Group
from .runs import Run
from .sections import draw_charts

TEMPLATE = Path(__file__).with_name("page.html")
NOTHING = "\N{EN DASH}"
RECORDED = ("commit", "versions", "machine")


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Args:
        title: heading of the column.
        of: name of the number, as :meth:`Group.numbers` takes it.
        form: writes a number.
        best: picks the best of several numbers; None if none is better than others.
    """

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
    notes: Sequence[str] = (),
) -> str:
    """Return the text of the file.

    Args:
        title: plain text, as are all labels.
        groups: one group or more.
        distances: rows for the chart of distances.
        pictures: ``text`` and ``data`` (a JPEG in base64) of each picture.
        beside: folder of the file.
        notes: what was left out, a sentence each.
    """
    runs = [run for group in groups for run in group.runs]
    drawn, not_drawn = draw_charts(groups, distances)
    shown = {f"c{index}": chart for index, chart in enumerate(chart for chart in drawn if chart.figures)}
    figures = {
        name: [json.loads(figure.to_json()) for figure in chart.figures.values()] for name, chart in shown.items()
    }
    columns = [column for column in _columns(groups) if any(group.numbers(column.of) for group in groups)]
    page = Environment(autoescape=True, trim_blocks=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    return page.render(
        title=title,
        summary=_summary(groups),
        columns=["run", *["method"] * any(run.method for run in runs), *(c.title for c in columns), "runs (seeds)"],
        rows=_rows(groups, columns),
        charts=[{"id": name, "title": c.title, "text": c.text, "names": list(c.figures)} for name, c in shown.items()],
        pictures=pictures,
        notes=[*(note for run in runs for note in run.notes), *notes, *not_drawn],
        origins=_origins(runs, beside),
        figures=_compress(json.dumps(figures)),
        library=_compress(get_plotlyjs()),
    )


def _compress(text: str) -> str:
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
        unfinished = sorted({run.record.get("status", "") for run in group.runs} - {"", "finished"})
        cells.append({"text": ", ".join([group.seeds, *unfinished]), "bad": bool(unfinished)})
        rows.append({"cells": cells, "colour": charts.style(index)["color"], "symbol": charts.marker(index)["symbol"]})
    return rows


def _differ(values: Sequence[float]) -> bool:
    return len(values) > 1 and max(values) - min(values) > 1e-9 * abs(max(values))


def _origins(runs: Sequence[Run], beside: Path) -> list[str]:
    recorded = {key: sorted({str(run.record[key]) for run in runs if run.record.get(key)}) for key in RECORDED}
    lines = [f"{key}: {'; '.join(values)}" for key, values in recorded.items() if values]
    folders = sorted({os.path.relpath(run.folder, beside) for run in runs})
    more = f" and {len(folders) - 8} more" if len(folders) > 8 else ""
    return [*lines, f"folders, from that of this file: {', '.join(folders[:8])}{more}"]
