"""A small lottery on fake MNIST; as a script it can be killed, or run on several ranks.

python tests/lottery_run.py FOLDER MNIST STAGE:STEP, where it is killed
torchrun --nproc_per_node 2 tests/lottery_run.py FOLDER MNIST
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from fits import OPTIMIZERS, trainer

from callbacks import GradualPruning, IterativePruning, LotteryTicket, Ticket
from callbacks.sparsity import PruningWindow
from datamodules import MNISTDataModule
from lightning_modules import SparseClassifier
from lightning_modules.networks import LeNet300100

STEPS = 12  # of 4 batches an epoch


def gmp() -> GradualPruning:
    return GradualPruning(0.8, window=PruningWindow(every=2, start=4, stop=8))


def imp(**arguments: Any) -> IterativePruning:
    return IterativePruning(**{"share": 0.5, "levels": 2, **arguments})


def module(widths: tuple[int, int] = (12, 8)) -> SparseClassifier:
    generator_state = torch.get_rng_state()
    torch.manual_seed(0)
    network = LeNet300100(widths)
    torch.set_rng_state(generator_state)
    return SparseClassifier(
        network,
        num_classes=10,
        optimizer=OPTIMIZERS["sgd-momentum"],
        scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS),
    )


def data_in(root: Path) -> Callable[[int], MNISTDataModule]:
    return lambda number: MNISTDataModule(root, verify=False, batch_size=16, val_size=0, seed=number)


class At(pl.Callback):
    """Does something when a stage of the lottery has done so many steps."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self.step, self.action = step, action

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            self.action()


def make_trainer(callbacks: list[pl.Callback], folder: Path, **arguments: Any) -> pl.Trainer:
    quiet = {"max_steps": STEPS, "limit_val_batches": 0, "enable_checkpointing": True}
    return trainer(callbacks, **{**quiet, **arguments})


def stopping(stage: str, step: int, action: Callable[[], None], **arguments: Any) -> Callable[..., pl.Trainer]:
    """A make_trainer whose Trainer acts in one stage, e.g. ``"level-1/weights/run-0"``."""

    def make(callbacks: list[pl.Callback], folder: Path) -> pl.Trainer:
        hit = str(folder).endswith(stage)
        return make_trainer([*callbacks, *([At(step, action)] if hit else [])], folder, **arguments)

    return make


def run(folder: Path, mnist: Path, make: Callable[..., pl.Trainer] = make_trainer, **arguments: Any) -> list[Ticket]:
    settings = {"pruning": gmp(), "save_every": 3, **arguments}
    return list(LotteryTicket(folder, **settings).run(module(), data_in(mnist), make))


def run_on_all_ranks(folder: Path, mnist: Path) -> None:
    """Once without a break, once with one; saves the tickets that each rank saw."""
    limits = {"devices": int(os.environ["WORLD_SIZE"]), "strategy": "ddp", "max_steps": 6}  # 3 epochs
    settings: dict[str, Any] = {"pruning": imp(share=0.4), "rewind_step": 2, "save_every": 2}
    crash = stopping("level-1/weights/run-0", 5, lambda: sys.exit("crash"), **limits)
    with contextlib.suppress(SystemExit):
        run(folder / "parts", mnist, crash, **settings)
    whole = stopping("", 0, lambda: None, **limits)
    run(folder / "parts", mnist, whole, **settings)
    tickets = run(folder / "whole", mnist, whole, **settings)
    seen = {f"level-{t.level}": (t.masks.digest(), dict(t.weights)) for t in tickets}
    torch.save(seen, folder / f"rank-{os.environ['RANK']}.pt")


def main(folder: Path, mnist: Path, kill: str = "") -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    if "RANK" in os.environ:
        run_on_all_ranks(folder, mnist)
    else:
        stage, step = kill.split(":")
        run(folder, mnist, stopping(stage, int(step), lambda: os.kill(os.getpid(), signal.SIGKILL)), rewind_step=2)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
