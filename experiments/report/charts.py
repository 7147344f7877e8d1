"""The figures of a report, in plotly, without colours for text and background, which the page chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]

from ..charts import flow_heatmap
from ..charts.text import escaped
from .groups import Group
from .runs import Run

# Colours that differ on white and on near-black, also for most people with another colour vision.
COLOURS = ("#3b82c4", "#e0803a", "#2f9e6e", "#c9569c", "#a08a1f", "#7a6fd0", "#d2504f", "#3aa5b5", "#8f7358", "#7f8c8d")
# With these, four times as many groups can be distinguished as there are colours.
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up")
PATTERNS = ("", "/", ".", "x")
HEATMAP_COLUMNS = 60
LAYER_FLOW = "grad_flow/active/"  # the name of the parameter follows
BANDS = 8  # the bands of more groups would hide each other


def style(index: int) -> dict[str, Any]:
    """Return colour and dashes of the group with this number, which are the same in all charts."""
    return {"color": COLOURS[index % len(COLOURS)], "dash": DASHES[index // len(COLOURS) % len(DASHES)]}


def marker(index: int, **more: Any) -> dict[str, Any]:
    """Return colour and symbol of the points of the group with this number."""
    return {"color": style(index)["color"], "symbol": SYMBOLS[index // len(COLOURS) % len(SYMBOLS)], **more}


def curves(groups: Sequence[Group], key: str, axis: str, *, log: bool = False, percent: bool = False) -> Any:
    """Draw a number over optimizer steps: the mean of each group in a band of its runs; None if no run has it."""
    figure = go.Figure()
    times = 100 if percent else 1
    for index, group in enumerate(groups):
        curve = group.curve(key)
        if curve is None:
            continue
        steps, mean, least, greatest = np.asarray(curve, np.float32)
        name, look = escaped(group.label), style(index)
        if len(groups) <= BANDS and (greatest > least).any():
            figure.add_scatter(
                x=np.concatenate([steps, steps[::-1]]),
                y=np.concatenate([greatest, least[::-1]]) * times,
                fill="toself",
                fillcolor=look["color"],
                opacity=0.2,
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=str(index),
            )
        mode = "lines" if len(steps) > 1 else "markers"
        points = {"marker": marker(index)} if mode == "markers" else {"line": look}
        figure.add_scatter(x=steps, y=mean * times, mode=mode, name=name, legendgroup=str(index), **points)
    if not figure.data:
        return None
    figure.update_xaxes(title="optimizer step")
    figure.update_yaxes(title=axis, type="log" if log else "linear")
    figure.update_layout(hovermode="x unified" if len(groups) <= BANDS else "closest")
    return figure


def accuracy_against_flops(groups: Sequence[Group], score: str) -> Any:
    """Draw a point for each group, and a line through those that no other beats in both; None without FLOPs."""
    points = [(group.mean("training"), group.mean(score), index) for index, group in enumerate(groups)]
    known = [(flops, value, index) for flops, value, index in points if flops is not None and value is not None]
    if not known:
        return None
    figure = go.Figure()
    front = pareto([(flops, value) for flops, value, _ in known])
    figure.add_scatter(
        x=[known[i][0] for i in front],
        y=[100 * known[i][1] for i in front],
        mode="lines",
        name="Pareto front",
        line={"color": "#999999", "dash": "dot", "shape": "hv"},
        hoverinfo="skip",
    )
    for flops, value, index in known:
        group = groups[index]
        spread = 100 * float(np.std(group.numbers(score)))
        figure.add_scatter(
            x=[flops],
            y=[100 * value],
            error_y={"array": [spread], "visible": spread > 0},
            mode="markers",
            marker=marker(index, size=11),
            name=escaped(group.label),
        )
    figure.update_xaxes(title="FLOPs of training", type="log")
    figure.update_yaxes(title=f"{score}, %")
    return figure


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the numbers of the points (cost, score) that no other beats in both, by rising cost.

    Example:
        >>> pareto([(2, 0.9), (1, 0.8), (3, 0.85)])
        [1, 0]
    """
    best, front = -np.inf, []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[index][1] > best:
            best = points[index][1]
            front.append(index)
    return front


def layers_over_time(run: Run) -> Any:
    """Draw the norm of the active gradient, layer by step; None if it was not logged."""
    names = [key for key in run.curves if key.startswith(LAYER_FLOW) and key.endswith("weight")]
    if not names:
        return None
    order = {name: index for index, name in enumerate(run.record.get("layers", {}))}  # as in the network
    names.sort(key=lambda key: order.get(key.removeprefix(LAYER_FLOW), len(order)))
    steps = np.unique(np.concatenate([run.curves[name].steps for name in names]))
    chosen = steps[np.unique(np.linspace(0, len(steps) - 1, HEATMAP_COLUMNS).astype(int))]
    table = np.full((len(names), len(chosen)), np.nan)
    for row, name in enumerate(names):
        curve = run.curves[name]
        shown = np.isin(curve.steps, chosen)
        table[row, np.searchsorted(chosen, curve.steps[shown])] = curve.values[shown]
    labels = [short_name(name.removeprefix(LAYER_FLOW)) for name in names]
    return flow_heatmap(labels, chosen.tolist(), table.tolist()).update_layout(title=None)


def sparsity_of_layers(groups: Sequence[Group]) -> Any:
    """Draw bars of the sparsity of every layer at the end of each group's first run; None if no run recorded it."""
    figure = go.Figure()
    for index, group in enumerate(groups):
        layers = next((run.record["layers"] for run in group.runs if run.record.get("layers")), None)
        if layers:
            shares = [1 - layer["active"] / max(1, int(np.prod(layer["shape"]))) for layer in layers.values()]
            figure.add_bar(
                x=[escaped(short_name(name)) for name in layers],
                y=np.array(shares, np.float32) * 100,
                name=escaped(group.label),
                marker={
                    "color": style(index)["color"],
                    "pattern": {"shape": PATTERNS[index // len(COLOURS) % len(PATTERNS)]},
                },
            )
    if not figure.data:
        return None
    figure.update_yaxes(title="sparsity, %", range=[0, 100])
    return figure


def distances(rows: Sequence[Mapping[str, Any]], groups: Sequence[Group]) -> Any:
    """Draw how far from the pruned solution runs began and ended, in the colours of their groups; None without rows."""
    if not rows:
        return None
    figure = go.Figure()
    labels = list(dict.fromkeys([*(group.label for group in groups), *(str(row["label"]) for row in rows)]))
    for index, label in enumerate(labels):
        own = [row for row in rows if row["label"] == label]
        if not own:
            continue
        figure.add_scatter(
            x=[float(row["start"]) for row in own],
            y=[float(row["end"]) for row in own],
            mode="markers",
            marker=marker(index, size=9),
            name=escaped(label),
        )
    most = max(max(float(row["start"]), float(row["end"])) for row in rows)
    figure.add_scatter(
        x=[0, most],
        y=[0, most],
        mode="lines",
        line={"color": "#999999", "dash": "dot"},
        name="no nearer",
        hoverinfo="skip",
    )
    figure.update_xaxes(title="L2 distance of the start")
    figure.update_yaxes(title="L2 distance of the end")
    return figure


def short_name(name: str) -> str:
    """Return the name of a parameter without what all names have in common."""
    return name.removeprefix("network.").removesuffix(".weight")
