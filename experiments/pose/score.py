"""Predict the people of a data set and keep predictions and truth for ``evaluate``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

from .trained import trained

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
    cli = trained(chosen.checkpoint, chosen.config)
    batches: list[Any] = cli.trainer.predict(cli.model, cli.datamodule) or []
    found = {name: torch.cat([batch[name] for batch in batches]).cpu().numpy() for name in ("joints", "index")}
    people = cli.datamodule.people("test").take(found["index"])
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez(chosen.output, pred=found["joints"], target=people.joints, visible=people.visible, size=people.sizes)
    Console().print(f"{len(people)} people: {chosen.output}", soft_wrap=True)
