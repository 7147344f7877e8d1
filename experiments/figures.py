"""Figures of runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure


def plot_gradient_flow(curves: Mapping[str, Mapping[int, float]], path: Path) -> None:
    """Draw gradient norm over optimizer steps, log scale, one line per run."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        axes.plot(list(curve), list(curve.values()), label=name, linewidth=1.5)
    axes.set_yscale("log")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("norm of the active gradient, 1,000 samples")
    axes.set_title("Gradient flow of a sparse LeNet-5 on MNIST")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
