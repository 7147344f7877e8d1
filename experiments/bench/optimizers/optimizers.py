"""A bench of optimizers: what holds with each of them, for the page of results."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from ...run.provenance import provenance
from ...run.rows import write_rows
from .kinds import KINDS, Kind
from .promises import watch

RESULTS = Path(__file__).parents[2] / "results" / "optimizers.csv"
STEPS = 400  # before the mask update


def measure(kind: Kind, steps: int = STEPS, seed: int = 0) -> dict[str, object]:
    """Return the row of an optimizer: what was found, or why it was refused."""
    begun = time.perf_counter()
    row: dict[str, object] = {"optimizer": kind.name, "library": kind.library, "data": "synthetic", "seed": seed}
    row |= {"steps": steps, "outside": "", "states": "", "uncleared": "", "first": "", "most": "", "refused": ""}
    try:
        found = watch(kind, steps, seed)
        row |= {"outside": found.outside, "states": " ".join(sorted(found.states)), "uncleared": found.uncleared}
        row |= {"first": f"{found.ratios[0]:.2f}", "most": f"{max(found.ratios):.2f}"}
    except (ValueError, RuntimeError) as error:
        row["refused"] = str(error)
    return {**row, "minutes": f"{(time.perf_counter() - begun) / 60:.2f}", **provenance()}


def main(results: Path = RESULTS, kinds: Iterable[Kind] = KINDS, steps: int = STEPS) -> None:
    """Write a row for each optimizer; those whose library is not installed are named and left out."""
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    rows = []
    for kind in kinds:
        try:
            rows.append(measure(kind, steps))
        except ImportError as error:
            Console().print(f"{kind.name} is left out ({error}): pip install {kind.library}", soft_wrap=True)
    write_rows(results, rows)
