"""Predict the people of a data set and keep predictions and truth for ``evaluate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from .predictions import write_predictions
from .trained import add_run_arguments, load_estimator, predict_test


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``score``."""
    parser = commands.add_parser("score", help=__doc__, description=__doc__)
    add_run_arguments(parser)
    parser.add_argument("--output", type=Path, default=Path("preds.npz"), help="default preds.npz")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Write pred (N, K, 2), target (N, K, 2), visible (N, K) and size (N,), in px of the photos."""
    predictions = predict_test(load_estimator(chosen))
    write_predictions(predictions, chosen.output)
    Console().print(f"{len(predictions.pred)} people: {chosen.output}", soft_wrap=True)
