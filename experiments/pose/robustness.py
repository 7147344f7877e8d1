"""How scores depend on the box: the test people, with boxes moved aside, smaller and larger."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pytorch_lightning.cli import LightningCLI
from rich.console import Console
from rich.table import Table

from datamodules.pose.people import People

from ..provenance import append_row, provenance
from .evaluate import PROTOCOLS, evaluate
from .trained import predict_test, trained

if TYPE_CHECKING:
    from argparse import _SubParsersAction

SHIFTS = (0.05, 0.1, 0.2)  # shares of the box's side
SCALES = (0.8, 0.9, 1.1, 1.25)
COLUMNS = ["config", "data", "shift", "scale", "score", "low", "high", "commit", "versions", "machine"]


def moved(people: People, shift: float, scale: float, *, seed: int = 0) -> People:
    """The same people in other boxes.

    Args:
        people: whose.
        shift: how far each centre goes, as a share of the side, in a direction drawn for each.
        scale: new side over old.
        seed: of the directions.
    """
    angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(people))
    sides = people.boxes[:, 2:]
    centres = people.boxes[:, :2] + shift * sides * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return replace(people, boxes=np.hstack([centres, scale * sides]))


def robustness(cli: LightningCLI, protocol: str) -> Iterator[dict[str, object]]:
    """Score the test people in their own boxes, then in moved ones.

    Args:
        cli: the estimator and its data.
        protocol: ``lsp`` or ``mpii``.
    """
    people = cli.datamodule.people("test")
    for shift, scale in [(0.0, 1.0), *((shift, 1.0) for shift in SHIFTS), *((0.0, scale) for scale in SCALES)]:
        found = evaluate(predict_test(cli, moved(people, shift, scale)), PROTOCOLS[protocol])
        low, high = found.interval_95
        score = next(iter(found.scores.values())).percent
        yield {"shift": shift, "scale": scale, "score": f"{score:.2f}", "low": f"{low:.1f}", "high": f"{high:.1f}"}


def add_command(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``robustness``."""
    parser = commands.add_parser("robustness", help=__doc__, description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="of a run")
    parser.add_argument("--config", type=Path, help="the run's YAML file; default: config.yaml in the run's folder")
    parser.add_argument("--protocol", choices=PROTOCOLS, required=True)
    parser.add_argument("--results", type=Path, help="CSV file to add the rows to")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Print the table; a row each in the CSV file."""
    source = provenance()
    cli = trained(chosen.checkpoint, chosen.config)
    name = chosen.config.stem if chosen.config else chosen.checkpoint.stem
    table = Table(title=f"{name}: {PROTOCOLS[chosen.protocol].measure} of moved boxes")
    for column in ("moved by, sides", "side times", "score, %", "95 %"):
        table.add_column(column, justify="right")
    for row in robustness(cli, chosen.protocol):
        table.add_row(f"{row['shift']}", f"{row['scale']}", f"{row['score']}", f"{row['low']} .. {row['high']}")
        if chosen.results:
            append_row(chosen.results, {"config": name, "data": chosen.protocol.upper(), **row, **source}, COLUMNS)
    Console().print(table)
