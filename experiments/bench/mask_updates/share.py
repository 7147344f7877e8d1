"""A bench of mask updates: their share of the training time of a ResNet-50 that has one every 100 steps."""

from __future__ import annotations

import logging
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial

import pytorch_lightning as pl
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from callbacks import NM, MaskOwner, RigL, SRigL
from callbacks.sparsity import UpdateWindow
from lightning_modules import SparseClassifier
from lightning_modules.networks import ResNet50

from ...run.console_tables import number_table
from ..arms import SPARSITY
from ..quiet_trainer import quiet_trainer

EVERY = 100  # steps between updates of a real run; here every other step has one
WINDOW = UpdateWindow(2, stop=10**9)
METHODS: dict[str, Callable[[], MaskOwner]] = {
    "RigL": partial(RigL, SPARSITY, window=WINDOW),
    "SRigL": partial(SRigL, SPARSITY, window=WINDOW),
    "NM 2:4": partial(NM, 2, 4, window=WINDOW, exclude="network.conv1.weight"),
}


class Stopwatch(pl.Callback):
    """A callback that times each step, and what the callbacks between two of its kind do before the optimizer steps."""

    def __init__(self, first: Stopwatch | None = None) -> None:
        self.first = first
        self.begun = self.before = 0.0
        self.steps: list[float] = []
        self.hooks: list[float] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        self.begun = time.perf_counter()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        self.before = time.perf_counter()
        if self.first is not None:
            self.hooks.append(self.before - self.first.before)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self.steps.append(time.perf_counter() - self.begun)


def measure(network: nn.Module, owner: MaskOwner, images: Tensor, updates: int = 3) -> tuple[float, float]:
    """Return the seconds of an update, beyond what the owner does at every step, and those of a step without one."""
    first = Stopwatch()
    last = Stopwatch(first)
    steps = 2 * updates + 1
    label = torch.zeros(steps * len(images), dtype=torch.long)
    data = DataLoader(TensorDataset(images.repeat(steps, 1, 1, 1), label), batch_size=len(images))
    trainer = quiet_trainer([first, owner, last], max_steps=steps, log_every_n_steps=10**9)
    trainer.fit(SparseClassifier(network, 1000), data)
    # The first step warms up and reports; updates come at the steps 2, 4, ...
    plain, updating = statistics.median(last.hooks[1::2]), statistics.median(last.hooks[2::2])
    return updating - plain, statistics.median(last.steps[1::2])


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    table = number_table(
        f"ResNet-50, batch 32, 224x224 px, {SPARSITY:.0%} sparse, {torch.get_num_threads()} threads",
        "updates of",
        "s an update",
        "s a step",
        f"share of the time, every {EVERY} steps",
    )
    for name, make in METHODS.items():
        torch.manual_seed(0)
        update, step = measure(ResNet50(), make(), torch.randn(32, 3, 224, 224))
        table.add_row(name, f"{update:.2f}", f"{step:.2f}", f"{update / (update + EVERY * step):.2%}")
    Console().print(table)
