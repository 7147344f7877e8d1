"""Charts of how numbers are distributed: weights, gradients, eigenvalues."""

from __future__ import annotations

import plotly.graph_objects as go  # type: ignore[import-untyped]
import torch
from torch import Tensor

from .layers import TEMPLATE
from .text import escaped

BINS = 80
LOG = {"type": "log", "dtick": 1, "exponentformat": "power"}


def histograms(active: Tensor, inactive: Tensor, *, title: str) -> go.Figure:
    """Draw histograms of the values at active and at inactive weights, as shares of either, on a log scale.

    Args:
        active: values where the masks are True, of any shape; those that are no finite number are left out.
        inactive: values where the masks are False; there may be none.
        title: what the values are.
    """
    parts = {name: _finite(part) for name, part in (("active", active), ("inactive", inactive))}
    limit = max((float(part.abs().max()) for part in parts.values() if len(part)), default=0.0) or 1.0
    figure = go.Figure()
    for name, part in parts.items():
        if len(part):
            shares = torch.histc(part, BINS, -limit, limit) / len(part)
            figure.add_trace(_bars(-limit, limit, shares, name))
    axes = {"xaxis_title": "value", "yaxis": {**LOG, "title": "share of the entries"}}
    return figure.update_layout(title=escaped(title), barmode="overlay", template=TEMPLATE, **axes)


def spectrum(eigenvalues: Tensor, shares: Tensor | None = None, *, title: str = "Hessian spectrum") -> go.Figure:
    """Draw a histogram of eigenvalues on a log scale.

    Args:
        eigenvalues: (n,), all of them or some that stand for groups; 1 or more, finite.
        shares: (n,), the share of the spectrum that each eigenvalue stands for; None for equal shares.
        title: what has these eigenvalues.
    """
    weights = torch.full_like(eigenvalues, 1 / len(eigenvalues)) if shares is None else shares
    low, high = float(eigenvalues.min()), float(eigenvalues.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    index = ((eigenvalues - low) / (high - low) * BINS).long().clamp(max=BINS - 1)
    heights = torch.zeros(BINS, dtype=weights.dtype).index_add(0, index, weights)
    axes = {"xaxis_title": "eigenvalue", "yaxis": {**LOG, "title": "share of the spectrum"}}
    figure = go.Figure(_bars(low, high, heights, "eigenvalues"))
    return figure.update_layout(title=escaped(title), template=TEMPLATE, bargap=0, **axes)


def _finite(values: Tensor) -> Tensor:
    flat = values.detach().flatten().float().cpu()
    return flat[flat.isfinite()]


def _bars(low: float, high: float, heights: Tensor, name: str) -> go.Bar:
    width = (high - low) / len(heights)
    centers = [low + (index + 0.5) * width for index in range(len(heights))]
    return go.Bar(x=centers, y=heights.tolist(), width=width, name=name, opacity=0.65)
