"""Run the paper's LeNet-5 study, or go on with it: python -m experiments paper lenet5 --seeds 5."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..run.command import command_parser
from .arms import ARMS, STEPS
from .measure import write_tables
from .study import run_study
from .train import Settings


def main(args: Sequence[str] | None = None) -> None:
    parser = command_parser("paper", __doc__)
    parser.add_argument("study", choices=["lenet5"])
    parser.add_argument("--seeds", type=int, default=5, help="runs of every arm")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps of a run")
    parser.add_argument("--images", type=int, default=60_000, help="training images to interpolate with")
    parser.add_argument("--folder", type=Path, default=Path("runs/paper/lenet5"), help="what the runs leave")
    parser.add_argument("--results", type=Path, default=Path("experiments/results/lenet5"), help="tables")
    chosen = parser.parse_args(args)
    settings = Settings(chosen.folder, chosen.steps)
    run_study(ARMS, chosen.seeds, settings, chosen.results / "runs.csv", chosen.processes)
    write_tables(settings, chosen.seeds, chosen.results, chosen.images)
