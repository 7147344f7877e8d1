"""Short fits that can be made to kill their own process, and that go on from what their folder holds."""

from __future__ import annotations

import io
import json
import os
import signal
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from callbacks import (
    SET,
    SNFS,
    GradualPruning,
    GraNet,
    IterativePruning,
    LotteryTicket,
    MaskObserver,
    MaskOwner,
    RigL,
    SRigL,
    TopKAST,
    WholeCheckpoints,
)
from callbacks.sparsity import PruningWindow, UpdateWindow
from datamodules.loading.ordering import ResumableSampler, training_loader
from lightning_modules import SparseClassifier

STEPS = 61  # of 8 batches an epoch; no checkpoint is written after the last, so that there is always something to train
WINDOW = UpdateWindow(4, stop=1.0)
PRUNING = PruningWindow(4, start=4, stop=0.9)
METHODS: Mapping[str, Callable[[], MaskOwner]] = {
    "RigL": lambda: RigL(0.8, window=WINDOW),
    "SET": lambda: SET(0.8, window=WINDOW),
    "SRigL": lambda: SRigL(0.8, window=WINDOW),
    "SNFS": lambda: SNFS(0.8, window=WINDOW),
    "TopKAST": lambda: TopKAST(0.8, window=WINDOW),
    "GraNet": lambda: GraNet(0.8, window=PRUNING),
    "GradualPruning": lambda: GradualPruning(0.8, window=PRUNING),
}
LOTTERY = "LotteryTicket"
NAMES = (*METHODS, LOTTERY)
PLACES = ("in a step", "in a mask update", "half a checkpoint written", "checkpoint not yet in place")


class Digits(pl.LightningDataModule):
    """Made-up images of five classes, shuffled anew each epoch."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        label = torch.randint(0, 5, (124,), generator=generator)  # the last batch of an epoch is smaller
        image = torch.randn(124, 1, 8, 8, generator=generator) + label.view(-1, 1, 1, 1)
        self.data = TensorDataset(image, label)

    def train_dataloader(self) -> DataLoader[Any]:
        return training_loader(self.data, ResumableSampler, self, seed=0, batch_size=16)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.data, batch_size=62)


class CurveLogger(Logger):
    """A logger that appends each row of metrics to a file, as a line of JSON."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @property
    def name(self) -> str:
        return "curve"

    @property
    def version(self) -> int:
        return 0

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Ignore hyperparameters."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    def read(self) -> dict[tuple[int, str], float]:
        """Return the last value of each metric at each step; a line that a kill cut off is left out."""
        values = {}
        for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("}\n") and line.startswith("{"):
                row = json.loads(line)
                values.update({(row["step"], name): value for name, value in row.items() if name != "step"})
        return values


class KillsItself(MaskObserver):
    """A callback that kills its own process when it comes to a place for the n-th time."""

    def __init__(self, place: str, count: int) -> None:
        self.place, self.count = place, count
        if place == "half a checkpoint written":
            torch.save = self.save_half  # type: ignore[assignment]  # the process ends before torch.save is used again
        elif place == "checkpoint not yet in place":
            os.fsync = lambda fd: self.come()  # noqa: ARG005  # the name is fsync's

    def come(self) -> None:
        self.count -= 1
        if self.count <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def save_half(self, value: object, path: Path, *, save: Callable[..., None] = torch.save) -> None:
        buffer = io.BytesIO()
        save(value, buffer)
        self.count -= 1
        path.write_bytes(buffer.getvalue()[: buffer.tell() // (2 if self.count <= 0 else 1)])
        if self.count <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.place == "in a step":
            self.come()

    def on_before_mask_update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, masks: Mapping[str, Tensor]
    ) -> None:
        if self.place == "in a mask update":
            self.come()


def run(folder: Path, name: str, death: tuple[str, int] | None = None) -> None:
    """Train from what ``folder`` holds to the end, or until the process kills itself at the n-th time at a place."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    dies = [KillsItself(*death)] if death else []
    (lottery if name == LOTTERY else fit)(folder, name, dies)
    (folder / "done").touch()


def fit(folder: Path, method: str, dies: Sequence[pl.Callback]) -> None:
    """Run one fit, with averages of its weights."""
    pl.seed_everything(0, verbose=False)
    saved = ModelCheckpoint(folder, every_n_train_steps=3, save_top_k=1, save_last=True)
    trainer = make_trainer([METHODS[method](), EMAWeightAveraging(decay=0.9), saved, *dies], folder, STEPS)
    last = folder / "last.ckpt"
    trainer.fit(classifier(), Digits(), ckpt_path=last if last.is_file() else None, weights_only=True)
    trainer.save_checkpoint(folder / "end.ckpt")


def lottery(folder: Path, name: str, dies: Sequence[pl.Callback]) -> None:  # noqa: ARG001  # fit has the same arguments
    """Run a dense fit, and two levels of pruning, rewinding and training again."""
    pl.seed_everything(0, verbose=False)
    lottery = LotteryTicket(folder, IterativePruning(0.5, levels=2), rewind_step=5, save_every=3)

    def make(callbacks: list[pl.Callback], stage: Path) -> pl.Trainer:
        own = ModelCheckpoint(stage, save_top_k=0)
        return make_trainer([*callbacks, own, *dies], stage, STEPS // 3)

    for _ in lottery.run(classifier(), lambda fit: Digits(), make):  # noqa: ARG005  # every fit has the same data order
        pass


def classifier() -> SparseClassifier:
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 24), nn.ReLU(), nn.Linear(24, 5)
    )
    return SparseClassifier(
        network,
        num_classes=5,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
        scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS),
    )


def make_trainer(callbacks: list[pl.Callback], folder: Path, steps: int) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        callbacks=callbacks,
        max_steps=steps,
        logger=CurveLogger(folder / "curve.jsonl"),
        log_every_n_steps=1,
        plugins=[WholeCheckpoints()],
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
