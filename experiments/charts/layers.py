"""Charts of what happens in each layer: gradient flow and mask churn over steps, and where the weights are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from .text import escaped

CELLS = 64  # cells along each side of a density map
ALL_CELLS = 16 * CELLS**2  # cells in all maps of a figure, so that figures of deep networks stay small
COLUMNS = 4
TEMPLATE = "plotly_white"


def flow_heatmap(names: Sequence[str], steps: Sequence[int], values: Sequence[Sequence[float]]) -> go.Figure:
    """Draw the norms of the active gradient, layer by step, in colours on a log scale.

    Args:
        names: names of the layers, from the input on.
        steps: optimizer steps, ascending.
        values: for each layer the norms at ``steps``; cells of 0 and of what is no finite number are blank.

    Raises:
        ValueError: there are not as many rows as names, or a row is not as long as ``steps``.
    """
    logs = [[math.log10(v) if 0 < v < math.inf else None for v in row] for row in values]
    shown = [v for row in logs for v in row if v is not None]
    ticks = list(range(math.floor(min(shown)), math.ceil(max(shown)) + 1)) if shown else [0]
    bar = {"tickvals": ticks, "ticktext": [f"1e{tick}" for tick in ticks], "title": {"text": "norm"}}
    return _heatmap("Gradient flow", names, steps, values, logs, bar)


def churn_heatmap(names: Sequence[str], steps: Sequence[int], values: Sequence[Sequence[float]]) -> go.Figure:
    """Draw the shares of the active weights that mask updates replaced, layer by step.

    Args:
        names: names of the layers, from the input on.
        steps: optimizer steps of mask updates, ascending.
        values: for each layer the shares at ``steps``, in [0, 1].

    Raises:
        ValueError: there are not as many rows as names, or a row is not as long as ``steps``.
    """
    return _heatmap("Mask churn", names, steps, values, values, {"tickformat": ".0%", "title": {"text": "new"}})


def density_maps(masks: Mapping[str, Tensor]) -> go.Figure:
    """Draw where the active weights of every layer are, as a map of its density: inputs to the right, outputs down.

    All maps have one size, whatever the sizes of the layers.

    Args:
        masks: True = active. Convolutions are averaged over their kernels, and all weights over blocks of inputs and
            outputs, to 64 cells a side, or fewer for many layers. A weight with one dimension is a map of one row.
    """
    cells = min(CELLS, max(8, math.isqrt(ALL_CELLS // max(len(masks), 1))))
    columns = min(COLUMNS, max(len(masks), 1))
    rows = math.ceil(len(masks) / columns)
    pitch = cells + cells // 4  # the rest is room for a title
    # all maps are one picture, since plotly takes seconds to make 50 subplots
    sheet: list[list[float | None]] = [[None] * (pitch * columns) for _ in range(pitch * rows)]
    titles = []
    for index, (name, mask) in enumerate(masks.items()):
        left, top = index % columns * pitch, index // columns * pitch + cells // 4
        for row, values in enumerate(_density(mask, cells), start=top):
            sheet[row][left : left + cells] = values
        text = f"{escaped(name)}: {float(mask.float().mean()):.2%}"
        corner = {"x": left - 0.5, "y": top - 0.5, "xanchor": "left", "yanchor": "bottom", "showarrow": False}
        titles.append({"text": text, "font": {"size": 10}, **corner})
    trace = go.Heatmap(z=sheet, zmin=0, zmax=1, colorscale="Viridis", colorbar={"tickformat": ".0%"}, hoverongaps=False)
    trace.hovertemplate = "%{z:.1%}<extra></extra>"
    hidden = {"visible": False}
    size = {"height": 120 + 250 * rows, "template": TEMPLATE, "annotations": titles}
    axes = {"xaxis": hidden, "yaxis": {**hidden, "autorange": "reversed"}}
    return go.Figure(trace).update_layout(title="Density of active weights", **axes, **size)


def _density(mask: Tensor, cells: int) -> list[list[float]]:
    density = mask.float()
    if density.dim() != 2:
        density = density.flatten(2).mean(2) if density.dim() > 2 else density.reshape(1, -1)
    rounded = adaptive_avg_pool2d(density[None], (cells, cells))[0].cpu().double().round(decimals=3)
    values: list[list[float]] = rounded.tolist()
    return values


def _heatmap(
    title: str,
    names: Sequence[str],
    steps: Sequence[int],
    values: Sequence[Sequence[float]],
    colours: Sequence[Sequence[float | None]],
    bar: Mapping[str, object],
) -> go.Figure:
    if len(values) != len(names) or any(len(row) != len(steps) for row in values):
        raise ValueError(
            f"values has rows of {sorted({len(row) for row in values})} numbers, {len(values)} rows; it needs "
            f"{len(names)} rows, one for each name, of {len(steps)}, one for each step"
        )
    finite = [[v if math.isfinite(v) else None for v in row] for row in values]
    trace = go.Heatmap(
        x=list(steps),
        y=[escaped(name) for name in names],
        z=[list(row) for row in colours],
        customdata=finite,
        colorscale="Viridis",
        colorbar=bar,
        hovertemplate="%{y}<br>step %{x}: %{customdata:.4g}<extra></extra>",
    )
    rows = {"type": "category", "autorange": "reversed", "automargin": True}
    size = {"height": 160 + 22 * len(names), "template": TEMPLATE}
    return go.Figure(trace).update_layout(title=title, xaxis_title="optimizer step", yaxis=rows, **size)
