"""Predict the people of a data set and keep predictions and truth for ``evaluate``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from .predictions import write_predictions
from .trained import predict_test, trained

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_command(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``score``."""
    parser = commands.add_parser("score", help=__doc__, description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="of a run of python -m experiments fit")
    parser.add_argument("--config", type=Path, help="the run's YAML file; default: config.yaml in the run's folder")
    parser.add_argument("--output", type=Path, default=Path("preds.npz"), help="default preds.npz")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Write pred (N, K, 2), target (N, K, 2), visible (N, K) and size (N,), in px of the photos."""
    found = predict_test(trained(chosen.checkpoint, chosen.config))
    write_predictions(found, chosen.output)
    Console().print(f"{len(found.pred)} people: {chosen.output}", soft_wrap=True)
