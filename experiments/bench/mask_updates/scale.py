"""A bench of RigL's updates: time and memory by the number of weights, for the table of callbacks/README.md."""

from __future__ import annotations

import logging
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from callbacks import RigL
from callbacks.sparsity import UpdateWindow
from lightning_modules import SparseClassifier
from lightning_modules.networks import ResNet50

from ...run.provenance import provenance
from ...run.rows import write_rows
from ..arms import SPARSITY
from ..quiet_trainer import quiet_trainer
from .held_memory import HeldMemory
from .share import Stopwatch

RESULTS = Path(__file__).parents[2] / "results" / "mask_updates.csv"
WIDTHS = (0.5, 1.0, 2.0)  # widths of a ResNet-50: 6, 25 and 98 million weights
BEYOND = 6.5  # the width with a billion weights


class PeakMemory(pl.Callback):
    """A callback that measures by how many bytes tensors grow at most, in one step, between two of its kind.

    Args:
        first: the callback at which the measurement begins; None for that callback itself.
        step: the number of optimizer steps before the measured one.
    """

    def __init__(self, first: PeakMemory | None = None, *, step: int = 0) -> None:
        self.first = first
        self.step: int = step if first is None else first.step
        self.held = HeldMemory()
        self.peak = 0

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if trainer.global_step != self.step:
            return
        if self.first is None:
            self.held.__enter__()
            return
        self.first.held.__exit__()
        self.peak = self.first.held.most


def measure(width: float, updates: int) -> dict[str, Any]:
    """Return a row with the median seconds of ``updates``, and the bytes of the first."""
    torch.manual_seed(0)
    network = ResNet50(width=width)
    owner = RigL(SPARSITY, window=UpdateWindow(2, stop=10**9))
    clock, memory = Stopwatch(), PeakMemory(step=2)
    clock_end, memory_end = Stopwatch(clock), PeakMemory(memory)
    steps = 2 * updates + 1
    images, label = torch.randn(2 * steps, 3, 32, 32), torch.zeros(2 * steps, dtype=torch.long)
    trainer = quiet_trainer([memory, clock, owner, clock_end, memory_end], max_steps=steps, log_every_n_steps=10**9)
    trainer.fit(SparseClassifier(network, 1000), DataLoader(TensorDataset(images, label), batch_size=2))
    # The first step warms up and reports; updates come at the steps 2, 4, ...
    seconds = statistics.median(clock_end.hooks[2::2]) - statistics.median(clock_end.hooks[1::2])
    return {
        "network": f"ResNet50(width={width:g})",
        "method": f"RigL({SPARSITY})",
        "weights": owner.masks.size,
        "largest": max(mask.numel() for mask in owner.masks.values()),
        "seconds": round(seconds, 4),
        "peak_bytes": memory_end.peak,
        "updates": updates,
    }


def by_arithmetic(row: Mapping[str, Any], width: float) -> dict[str, Any]:
    """Return the row of a network too large to measure, extrapolated from a measured row by the sizes of its layers."""
    with torch.device("meta"):
        layers = [p.numel() for p in ResNet50(width=width).parameters() if p.ndim > 1]
    weights, largest = sum(layers), max(layers)
    # Bytes a weight of the layer that is updated; its new mask takes one byte a weight of the network.
    held = (row["peak_bytes"] - row["weights"]) / row["largest"]
    return {
        "network": f"ResNet50(width={width:g})",
        "method": row["method"],
        "weights": weights,
        "largest": largest,
        "seconds": round(row["seconds"] * weights / row["weights"], 3),
        "peak_bytes": round(weights + held * largest),
        "updates": 0,
    }


def main(results: Path = RESULTS, widths: Sequence[float] = WIDTHS, beyond: float = BEYOND, updates: int = 7) -> None:
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    rows = []
    for width in widths:
        begun = time.perf_counter()
        row = measure(width, updates)
        minutes = round((time.perf_counter() - begun) / 60, 2)
        rows.append({**row, "minutes": minutes, "date": date.today().isoformat(), **provenance()})
    rows.append({**rows[-1], **by_arithmetic(rows[-1], beyond), "minutes": 0})
    for row in rows:
        Console().print(f"{row['weights'] / 1e6:.1f}M weights: {row['seconds']:.2f} s an update")
    write_rows(results, rows)
