"""Score the test people in boxes that are moved aside, smaller and larger."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from pytorch_lightning.cli import LightningCLI
from rich.console import Console
from rich.table import Table

from datamodules.pose.people import People

from ..run.provenance import provenance
from ..run.rows import append_row, check_rows
from .evaluate import PROTOCOLS, evaluate
from .trained import add_run_arguments, load_estimator, predict_test

SHIFTS = (0.05, 0.1, 0.2)  # as shares of the side of the box
SCALES = (0.8, 0.9, 1.1, 1.25)
COLUMNS = ["config", "data", "shift", "scale", "score", "low", "high", "commit", "versions", "machine"]


def move_boxes(people: People, shift: float, scale: float, *, seed: int = 0) -> People:
    """Return the same people in other boxes.

    Args:
        people: people with their own boxes.
        shift: how far each centre moves, as a share of the side, in a direction drawn for each.
        scale: new side over old side.
        seed: seed of the directions.
    """
    angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(people))
    sides = people.boxes[:, 2:]
    centres = people.boxes[:, :2] + shift * sides * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return replace(people, boxes=np.hstack([centres, scale * sides]))


def score_moved_boxes(cli: LightningCLI, protocol: str) -> Iterator[dict[str, object]]:
    """Score the test people in their own boxes, then in moved ones, and yield a row for each.

    Args:
        cli: holds the estimator and its data.
        protocol: ``lsp`` or ``mpii``.
    """
    people = cli.datamodule.people("test")
    for shift, scale in [(0.0, 1.0), *((shift, 1.0) for shift in SHIFTS), *((0.0, scale) for scale in SCALES)]:
        evaluation = evaluate(predict_test(cli, move_boxes(people, shift, scale)), PROTOCOLS[protocol])
        low, high = evaluation.interval_95
        score = next(iter(evaluation.scores.values())).percent
        yield {"shift": shift, "scale": scale, "score": f"{score:.2f}", "low": f"{low:.1f}", "high": f"{high:.1f}"}


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``robustness``."""
    parser = commands.add_parser("robustness", help=__doc__, description=__doc__)
    add_run_arguments(parser)
    parser.add_argument("--protocol", choices=PROTOCOLS, required=True)
    parser.add_argument("--results", type=Path, help="CSV file to add the rows to")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Print the table, and add a row for each box to the CSV file."""
    if chosen.results:
        check_rows(chosen.results, COLUMNS)
    source = provenance()
    cli = load_estimator(chosen)
    name = chosen.config.stem if chosen.config else chosen.checkpoint.stem
    table = Table(title=f"{name}: {PROTOCOLS[chosen.protocol].measure} of moved boxes")
    for column in ("moved by, sides", "side times", "score, %", "95 %"):
        table.add_column(column, justify="right")
    for row in score_moved_boxes(cli, chosen.protocol):
        table.add_row(f"{row['shift']}", f"{row['scale']}", f"{row['score']}", f"{row['low']} .. {row['high']}")
        if chosen.results:
            append_row(chosen.results, {"config": name, "data": chosen.protocol.upper(), **row, **source}, COLUMNS)
    Console().print(table)
