"""Fits that are killed again and again and go on, against fits that are left alone: equal to the bit, or not."""

from __future__ import annotations

import io
import json
import logging
import multiprocessing
import os
import random
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.loggers.logger import Logger
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from callbacks import (
    SET,
    SNFS,
    GradualPruning,
    GraNet,
    MaskObserver,
    MaskOwner,
    RigL,
    SRigL,
    TopKAST,
    WholeCheckpoints,
    read_checkpoint,
)
from callbacks.sparsity import PruningWindow, UpdateWindow
from datamodules.ordering import ResumableSampler, training_loader
from lightning_modules import SparseClassifier

STEPS = 61  # of 8 batches an epoch; not one after which there is a checkpoint, or nothing would be left to do
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
PLACES = ("in a step", "in a mask update", "half a checkpoint written", "checkpoint not yet in place")
DEATHS = ("at any moment", "SIGTERM at any moment", *PLACES)


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


class Curve(Logger):
    """Appends what is logged to a file, a line of JSON each time."""

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
        """Nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    def read(self) -> dict[tuple[int, str], float]:
        """The last value of each metric at each step; a line cut off by a kill is left out."""
        values = {}
        for line in self.path.read_text().splitlines(keepends=True):
            if line.endswith("}\n") and line.startswith("{"):
                row = json.loads(line)
                values.update({(row["step"], name): value for name, value in row.items() if name != "step"})
        return values


class Dies(MaskObserver):
    """Kills its own process when it comes to a place for the n-th time."""

    def __init__(self, place: str, count: int) -> None:
        self.place, self.count = place, count
        if place == "half a checkpoint written":
            torch.save = self.save_half  # type: ignore[assignment]  # the process ends with it
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


def fit(folder: Path, method: str, death: tuple[str, int] | None = None) -> None:
    """Train from where ``folder`` says, to the end, or to the n-th time at a place to die."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    pl.seed_everything(0, verbose=False)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 24), nn.ReLU(), nn.Linear(24, 5)
    )
    module = SparseClassifier(
        network,
        num_classes=5,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
        scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS),
    )
    saved = ModelCheckpoint(folder, every_n_train_steps=3, save_top_k=1, save_last=True)
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=[METHODS[method](), EMAWeightAveraging(decay=0.9), saved, *([Dies(*death)] if death else [])],
        max_steps=STEPS,
        logger=Curve(folder / "curve.jsonl"),
        log_every_n_steps=1,
        plugins=[WholeCheckpoints()],
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    last = folder / "last.ckpt"
    trainer.fit(module, Digits(), ckpt_path=last if last.is_file() else None, weights_only=True)
    trainer.save_checkpoint(folder / "end.ckpt")


@dataclass
class Killed:
    """A run that was killed: how often, of what, and what differs from one that was not."""

    method: str
    deaths: list[str]
    differing: list[str]


def disturbed(folder: Path, method: str, kills: int, draw: random.Random, seconds: float) -> list[str]:
    """Run lives until one comes to the end, the first ``kills`` of which are ended from outside or within."""
    deaths: list[str] = []
    while not (folder / "end.ckpt").is_file():
        death = draw.choice(DEATHS) if len(deaths) < kills else ""
        inside = (death, draw.randint(1, 8)) if death in PLACES else None
        life = multiprocessing.get_context("fork").Process(target=fit, args=(folder, method, inside))
        life.start()
        if death and not inside:
            life.join(draw.uniform(0.1, 1.0) * seconds)
            (life.terminate if death.startswith("SIGTERM") else life.kill)()  # nothing, when it is already over
        life.join()
        if life.exitcode:
            if not death:
                raise RuntimeError(f"a life of {method} in {folder} that was not killed ended with {life.exitcode}")
            deaths.append(death)
    return deaths


def differences(folder: Path, other: Path) -> Iterator[str]:
    """What is not equal to the bit in the last checkpoints and curves of two runs."""
    ours, theirs = (read_checkpoint(path / "end.ckpt") for path in (folder, other))
    for key in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "global_step"):
        if not equal(ours[key], theirs[key]):
            yield key
    if not equal(*(checkpoint["callbacks"]["SparseTraining"] for checkpoint in (ours, theirs))):
        yield "masks"
    if Curve(folder / "curve.jsonl").read() != Curve(other / "curve.jsonl").read():
        yield "curve"


def equal(one: Any, other: Any) -> bool:
    """Whether two values of a checkpoint are, to the bit."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def kill(kills: int, folder: Path, *, seed: int = 0) -> Iterator[Killed]:
    """Kill fits so often in all, in runs of each method in turn.

    Args:
        kills: at least so many.
        folder: keeps the runs.
        seed: of when and how.
    """
    draw, done, number = random.Random(seed), 0, 0
    whole: dict[str, float] = {}
    while done < kills:
        method = list(METHODS)[number % len(METHODS)]
        if method not in whole:
            begun = time.perf_counter()
            disturbed(folder / method, method, 0, draw, 0.0)
            whole[method] = time.perf_counter() - begun
        run = folder / f"{method}-{number}"
        deaths = disturbed(run, method, min(5, kills - done), draw, whole[method])
        done, number = done + len(deaths), number + 1
        yield Killed(method, deaths, list(differences(run, folder / method)))


def main(kills: int = 30) -> None:
    """Print a line for each run, and how many kills gave equality."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    table = Table(title=f"Fits of {STEPS} steps, killed and gone on")
    for column in ("method", "killed", "equal to the undisturbed fit"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as folder:
        runs = list(kill(kills, Path(folder)))
    for run in runs:
        found = f"not: {', '.join(run.differing)}" if run.differing else "yes"
        table.add_row(run.method, ", ".join(run.deaths), found)
    Console().print(table)
    every, good = (sum(len(run.deaths) for run in chosen) for chosen in (runs, [r for r in runs if not r.differing]))
    print(f"{good} of {every} kills: weights, averages, masks, optimizer and curve equal, bit for bit")
    if good < every:
        raise SystemExit(1)
