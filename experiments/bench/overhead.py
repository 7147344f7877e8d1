"""The time that sparse training costs: a Trainer with it against the same Trainer without, and against peers."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import pytorch_lightning as pl
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset

from callbacks import RigL
from lightning_modules import SparseClassifier
from lightning_modules.networks import LeNet5, ResNet18, ResNet50

from ..run.console_tables import number_table
from ..run.tracking import finish_wandb
from . import arms
from .arms import ARMS, SPARSITY, Arm
from .quiet_trainer import RANKS, quiet_trainer


@dataclass(frozen=True)
class Case:
    """A network, its images, and how long to measure it: in periods of ``PERIOD`` steps, and in steps a turn."""

    name: str
    network: Callable[[], nn.Module]
    image: tuple[int, int, int]
    batch_size: int
    periods: int
    turn: int
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    channels_last: bool = False
    compiled: bool = False


CASES = [
    Case("LeNet-5, batch 128", LeNet5, (1, 28, 28), 128, periods=20, turn=5),
    Case(
        "ResNet-18 (11.2M weights), 32x32 px, batch 32",
        partial(ResNet18, 10, cifar_stem=True),
        (3, 32, 32),
        32,
        periods=2,
        turn=1,
    ),
]
ON_GPU = [
    Case(
        f"ResNet-50, 224x224 px, batch 256, bf16, channels_last, {'compiled' if compiled else 'eager'}",
        ResNet50,
        (3, 224, 224),
        256,
        periods=2,
        turn=5,
        precision="bf16-mixed",
        channels_last=True,
        compiled=compiled,
    )
    for compiled in (False, True)
]
# Untimed steps of the first epoch. With 4, or turns of 10, all mask updates would fall into turns without the arm.
WARM_UP = 10


class RepeatedBatch(Dataset[tuple[Tensor, Tensor]]):
    """A data set that gives the same batch again and again."""

    def __init__(self, images: Tensor, times: int) -> None:
        self.batch = images, torch.arange(len(images), device=images.device) % 10
        self.times = times

    def __len__(self) -> int:
        return self.times

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.batch


class RandomData(pl.LightningDataModule):
    """Random data on the module's device: a short first epoch, then ``case.periods`` with and without the arm."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        assert self.trainer is not None
        batches = 2 * arms.PERIOD * self.case.periods if self.trainer.current_epoch else WARM_UP
        images = torch.randn(self.case.batch_size, *self.case.image, device=self.trainer.strategy.root_device)
        if self.case.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return DataLoader(RepeatedBatch(images, batches), batch_size=None)


class Turns(pl.Callback):
    """A callback that switches an arm off and on again every ``turn`` steps of the second epoch, and times the turns.

    Both kinds of turns see the same process, memory and noise of the machine: a fit's time differs more from
    one process to the next than by what is measured here. The learning rate is 0, so that nothing changes.
    """

    def __init__(self, arm: Arm, turn: int) -> None:
        self.arm, self.turn = arm, turn
        self.seconds: list[float] = []
        self.start = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        wait(pl_module)
        self.start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if not trainer.current_epoch or (batch_idx + 1) % self.turn:
            return
        wait(pl_module)
        self.seconds.append(time.perf_counter() - self.start)
        on = len(self.seconds) % 2 == 0
        self.arm.switch(on)
        trainer.callbacks = [*(self.arm.callbacks if on else self.arm.always), self]  # type: ignore[attr-defined]
        self.start = time.perf_counter()


def wait(module: pl.LightningModule) -> None:
    """Wait until a GPU has done what it was asked for."""
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)


def measure(case: Case, make: Callable[[nn.Module], Arm], accelerator: str = "cpu") -> tuple[float, float]:
    """Return the seconds of a step with an arm, and their ratio to those without it.

    The time of a period is the sum over its turns of their medians over all periods: a mask update falls
    into one turn of each period, so that the median of all turns would not see it. What comes at other times is seen
    by the sum over all turns, which is less steady.
    """
    torch.manual_seed(0)
    network = case.network()
    arm = make(network)
    turns = Turns(arm, case.turn)
    trainer = quiet_trainer(
        [*arm.callbacks, turns],
        accelerator=accelerator,
        precision=case.precision,
        benchmark=True,
        max_epochs=2,
        reload_dataloaders_every_n_epochs=1,
        log_every_n_steps=arms.PERIOD,
        logger=arm.logger() if arm.logger else False,
    )
    module = SparseClassifier(
        network,
        10,
        optimizer=lambda parameters: SGD(parameters, lr=0.0, momentum=0.9),
        channels_last=case.channels_last,
    )
    if case.compiled:
        network.compile()
    trainer.fit(module, RandomData(case))
    finish_wandb()
    table = torch.tensor(turns.seconds).view(case.periods, -1, 2)
    seconds = (table.median(dim=0).values if arm.even else table.mean(dim=0)).sum(dim=0) / arms.PERIOD
    return float(seconds[0]), float(seconds[0] / seconds[1])


def mask_bytes_per_weight() -> float:
    """Return the bytes of a LeNet-5's masks over the number of weights that they mask."""
    owner = RigL(SPARSITY)
    quiet_trainer([owner], max_steps=1).fit(SparseClassifier(LeNet5(), num_classes=10), RandomData(CASES[0]))
    return sum(mask.untyped_storage().nbytes() for mask in owner.masks.values()) / owner.masks.size


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    threads = f"{torch.get_num_threads()} threads"
    where = f"{RANKS} processes of {threads}" if RANKS > 1 else threads
    console = Console(quiet=os.environ.get("RANK", "0") != "0")
    compare(console, CASES, list(ARMS)[: 2 if RANKS > 1 else None], where)
    console.print(f"mask memory: {mask_bytes_per_weight():.2f} bytes a weight")


def compare(
    console: Console, cases: Sequence[Case], names: Sequence[str], where: str, accelerator: str = "cpu"
) -> None:
    """Print a table for each case."""
    for case in cases:
        table = number_table(
            f"{case.name}, {SPARSITY:.0%} sparse, {where}", "Trainer with", "ms a step", "ratio to without"
        )
        for name in names:
            seconds, ratio = measure(case, ARMS[name], accelerator)
            table.add_row(name, f"{seconds * 1e3:.2f}", f"{ratio:.4f}")
        console.print(table)


def on_gpu() -> None:
    """Measure the first two arms on a GPU, where there is one."""
    console = Console()
    if not torch.cuda.is_available():
        console.print("gpu: torch sees none here")
        return
    torch.set_float32_matmul_precision("high")
    compare(console, ON_GPU, list(ARMS)[:2], torch.cuda.get_device_name(), "gpu")


def on_two_processes() -> None:
    """Measure the first two arms on two processes with DDP, where gradients are reduced and masks updated alike."""
    ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    subprocess.run(
        [*ranks, "-m", "experiments", "bench", "callbacks"], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True
    )
