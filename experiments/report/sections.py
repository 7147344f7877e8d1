"""The charts of a report in their order, each with its heading and how to read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..run.command import one_line
from . import charts as drawing
from .groups import Group

Rows = Sequence[Mapping[str, Any]]
Draw = Callable[[Sequence[Group], Rows], dict[str, Any]]  # (groups, distances) -> figures by name, "" for a single one

SCORES = ("test/acc", "test/pck@0.2", "test/pckh@0.5")  # the first of these that was measured is shown against costs


@dataclass(frozen=True)
class Chart:
    """One or several figures under a heading; the reader chooses which of several is shown.

    Args:
        title: the heading, in plain text, as all of these.
        text: how to read the figures.
        figures: figures by the name that the reader chooses from; none if nothing was measured for them.
    """

    title: str
    text: str
    figures: dict[str, Any]


def draw_charts(groups: Sequence[Group], distances: Rows) -> tuple[list[Chart], list[str]]:
    """Draw all charts; those that nothing was measured for have no figures.

    A chart that cannot be drawn of what was logged is left out, with a sentence.
    """
    charts, notes = [], []
    for title, text, draw in SECTIONS:
        try:
            charts.append(Chart(title, text, draw(groups, distances)))
        except Exception as error:  # of numbers that somebody else logged; the rest of the report stands
            notes.append(f"{title}: this chart cannot be drawn, {one_line(error)}")
    return charts, notes


def _single(figure: Any) -> dict[str, Any]:
    return {} if figure is None else {"": figure}


def _curve(key: str, axis: str, *, log: bool = False, percent: bool = False) -> Draw:
    return lambda groups, _: _single(drawing.curves(groups, key, axis, log=log, percent=percent))


def _against_flops(groups: Sequence[Group], _: Rows) -> dict[str, Any]:
    score = next((key for key in SCORES if any(key in run.scores for group in groups for run in group.runs)), "")
    return _single(drawing.accuracy_against_flops(groups, score))


def _flow_by_layer(groups: Sequence[Group], _: Rows) -> dict[str, Any]:
    """Draw the first run of each group that logged it."""
    figures = {}
    for group in groups:
        drawn = (drawing.layers_over_time(run) for run in group.runs)
        figures[group.label] = next((figure for figure in drawn if figure is not None), None)
    return {label: figure for label, figure in figures.items() if figure is not None}


SECTIONS: Sequence[tuple[str, str, Draw]] = (
    (
        "Accuracy against training cost",
        "Up and to the left is better; bars are a standard deviation over seeds.",
        _against_flops,
    ),
    (
        "Gradient flow on fixed samples",
        "Norm of the gradient of all active weights on the same training samples throughout; a network that hardly "
        "moves shows it here first.",
        _curve("grad_flow/probe", "norm", log=True),
    ),
    (
        "Gradient flow of the training batches",
        "Norm of the gradient that moves the network, before clipping.",
        _curve("grad_flow/active", "norm", log=True),
    ),
    (
        "Gradient behind the masks",
        "Norm of the gradient that masks hide: what growth could use.",
        _curve("grad_flow/inactive", "norm", log=True),
    ),
    (
        "What mask updates do to gradient flow",
        "Change of the norm on fixed samples at each update; above 0 it was improved.",
        _curve("grad_flow/delta", "change"),
    ),
    (
        "Gradient flow by layer",
        "Norm of the active gradient of every layer; a dark row is a layer that learns nothing.",
        _flow_by_layer,
    ),
    ("Training loss", "Means over parts of the run.", _curve("train/loss", "loss")),
    ("Validation accuracy", "On images that are held out.", _curve("val/acc", "accuracy, %", percent=True)),
    ("Validation PCK", "Joints found within a fifth of the torso.", _curve("val/pck@0.2", "PCK@0.2, %", percent=True)),
    (
        "Sparsity by layer",
        "At the end, in the order of the network.",
        lambda groups, _: _single(drawing.sparsity_of_layers(groups)),
    ),
    ("Sparsity over time", "Measured on the weights.", _curve("sparsity/actual", "sparsity, %", percent=True)),
    (
        "Mask churn",
        "Share of the active weights that each update exchanged.",
        _curve("sparsity/churn", "weights, %", percent=True),
    ),
    (
        "Exploration",
        "Share of all weights that were ever active.",
        _curve("sparsity/explored", "weights, %", percent=True),
    ),
    (
        "Largest eigenvalue of the Hessian",
        "Of the loss on fixed samples.",
        _curve("hessian/largest", "eigenvalue", log=True),
    ),
    (
        "Distances from the pruned solution",
        "Points below the line end nearer to it than they began. A winning ticket begins near and ends near.",
        lambda groups, distances: _single(drawing.distances(distances, groups)),
    ),
)
