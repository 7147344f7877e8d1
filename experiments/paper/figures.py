"""The figures of the LeNet-5 study, drawn from the committed rows."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..run.rows import read_rows
from . import published
from .claims import Row
from .names import arm_name


def draw_figures(results: Path) -> None:
    """Draw every figure whose rows are in ``results``, next to them."""
    norms, changes = read_rows(results / "gradient_norm.csv"), read_rows(results / "gradient_change.csv")
    if any(row["arm"] in published.GRADIENT_NORM for row in norms):
        _draw_curves(norms, "norm", published.GRADIENT_NORM, results / "gradient_norm.png", log=True)
    if any(row["arm"] in published.GRADIENT_CHANGE for row in changes):
        _draw_curves(changes, "change", published.GRADIENT_CHANGE, results / "gradient_change.png", log=False)
    if lines := read_rows(results / "interpolation.csv"):
        _draw_lines(lines, results / "interpolation.png")
    if points := [row for row in read_rows(results / "map.csv") if row["ticket"] == "0"]:
        _draw_map(points, results / "map.png")


def _draw_curves(
    rows: Sequence[Row], column: str, paper: dict[str, dict[int, float]], path: Path, *, log: bool
) -> None:
    """Draw means over seeds with their range, and the paper's values as dots of the same colour."""
    figure, axes = _figure()
    for arm, theirs in paper.items():
        values: dict[int, list[float]] = {}
        for row in rows:
            if row["arm"] == arm and (log or int(row["step"]) <= max(theirs)):
                values.setdefault(int(row["step"]), []).append(float(row[column]))
        steps = sorted(values)
        if not steps:
            continue
        [line] = axes.plot(steps, [statistics.mean(values[step]) for step in steps], label=arm_name(arm), linewidth=1.5)
        low, high = ([choose(values[step]) for step in steps] for choose in (min, max))
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.plot(list(theirs), list(theirs.values()), "o", color=line.get_color(), markersize=4)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("gradient norm" if log else "change of the gradient norm")
    if log:
        axes.set_yscale("log")
    axes.set_title("LeNet-5, MNIST, 95 % sparse: lines are ours (mean and range), dots the paper's")
    _save(figure, axes, path)


def _draw_lines(rows: Sequence[Row], path: Path) -> None:
    figure, axes = _figure()
    lines: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for row in rows:
        lines.setdefault((row["arm"], row["seed"], row["from"]), []).append((float(row["alpha"]), float(row["loss"])))
    colours = {
        ("lottery", "start"): "C0",
        ("lottery", "end"): "C1",
        ("scratch", "start"): "C2",
        ("scratch", "end"): "C3",
    }
    for (arm, _, kind), line in lines.items():
        colour = colours[arm.split("-")[0], kind]
        axes.plot(*zip(*sorted(line), strict=True), color=colour, linewidth=1, alpha=0.6)
    for (name, kind), colour in colours.items():
        theirs = published.INTERPOLATION[f"{name} {kind}"]
        axes.plot([], [], color=colour, label=f"{name} {kind}")
        axes.plot(list(theirs), list(theirs.values()), "o", color=colour, markersize=4)
    axes.set_xlabel("from a run (0) to the pruned solution (1)")
    axes.set_ylabel("training loss")
    axes.set_title("Every line is a run of ours, dots are the paper's")
    _save(figure, axes, path)


def _draw_map(points: Sequence[Row], path: Path) -> None:
    figure, axes = _figure()
    kinds = {"pruned": "k*", "lottery start": "C0o", "lottery end": "C1o", "scratch start": "C2s", "scratch end": "C3s"}
    for kind, style in kinds.items():
        own = [(float(row["x"]), float(row["y"])) for row in points if row["point"].startswith(kind)]
        if own:
            axes.plot(*zip(*own, strict=True), style, label=kind, markersize=12 if kind == "pruned" else 6)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(f"Weight space around ticket 0 (stress {points[0]['stress']})")
    _save(figure, axes, path)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Figure, axes: Axes, path: Path) -> None:
    axes.grid(visible=True, which="both", alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})
