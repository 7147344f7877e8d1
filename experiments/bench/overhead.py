"""What sparse training costs: one Trainer with it against the same Trainer without, and against pruning peers."""

from __future__ import annotations

import logging
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelPruning
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset

from callbacks import GradientFlowMonitor, RigL
from callbacks.sparsity import UpdateWindow
from lightning_modules import SparseClassifier
from lightning_modules.networks import LeNet5

from .networks import resnet18_like

SPARSITY = 0.9


@dataclass(frozen=True)
class Case:
    """A network, its images and how long to measure it: optimizer steps a fit, fits an arm."""

    name: str
    network: Callable[[], nn.Module]
    image: tuple[int, int, int]
    batch_size: int
    steps: int
    rounds: int


CASES = [
    Case("LeNet-5, batch 128", LeNet5, (1, 28, 28), 128, steps=300, rounds=15),
    Case("ResNet-18-like (11.2M weights), batch 32", resnet18_like, (3, 32, 32), 32, steps=100, rounds=3),
]
WARM_UP = 4  # steps of the first epoch, which is not timed


class Noise(pl.LightningDataModule):
    """The same random batch again and again: a short first epoch, then one of ``case.steps``."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        batches = self.case.steps if self.trainer is not None and self.trainer.current_epoch else WARM_UP
        size = self.case.batch_size
        images = torch.randn(1, *self.case.image).expand(batches * size, *self.case.image)
        return DataLoader(TensorDataset(images, torch.arange(batches * size) % 10), batch_size=size)


class Stopwatch(pl.Callback):
    """Times the second epoch; in the first, ModelPruning prunes."""

    def __init__(self) -> None:
        self.start = self.seconds = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds = time.perf_counter() - self.start


def weighted_layers(network: nn.Module) -> list[tuple[nn.Module, str]]:
    """What all arms make sparse: every convolution and linear layer."""
    return [(layer, "weight") for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


def no_callbacks(network: nn.Module) -> list[pl.Callback]:  # noqa: ARG001  # an arm like the others
    return []


def rigl(network: nn.Module) -> list[pl.Callback]:  # noqa: ARG001
    # the defaults: an update every 100 steps, a measurement every 50
    return [RigL(SPARSITY, window=UpdateWindow(100, stop=10**9)), GradientFlowMonitor(every_n_steps=50)]


def model_pruning(network: nn.Module) -> list[pl.Callback]:
    return [
        ModelPruning(
            "l1_unstructured",
            weighted_layers(network),
            amount=SPARSITY,
            use_global_unstructured=False,
            apply_pruning=lambda epoch: epoch == 0,
            use_lottery_ticket_hypothesis=False,
        )
    ]


def torch_prune(network: nn.Module) -> list[pl.Callback]:
    for layer, name in weighted_layers(network):
        prune.random_unstructured(layer, name, SPARSITY)  # type: ignore[no-untyped-call]
    return []


ARMS: dict[str, Callable[[nn.Module], list[pl.Callback]]] = {
    "no callbacks": no_callbacks,
    "RigL + GradientFlowMonitor": rigl,
    "Lightning's ModelPruning": model_pruning,
    "torch.nn.utils.prune": torch_prune,
}


def seconds_per_step(case: Case, arm: Callable[[nn.Module], list[pl.Callback]]) -> float:
    """One fit of two epochs; the second is timed."""
    torch.manual_seed(0)
    network = case.network()
    stopwatch = Stopwatch()
    trainer = quiet_trainer([stopwatch, *arm(network)], max_epochs=2, reload_dataloaders_every_n_epochs=1)
    trainer.fit(SparseClassifier(network, num_classes=10), Noise(case))
    return stopwatch.seconds / case.steps


def quiet_trainer(callbacks: Sequence[pl.Callback], **arguments: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        **arguments,
    )


def measure(case: Case) -> dict[str, tuple[float, float]]:
    """Arm -> (median seconds a step, median ratio to the dense fit of the same round), rounds interleaved."""
    times: dict[str, list[float]] = {name: [] for name in ARMS}
    for _ in range(case.rounds):
        for name, arm in ARMS.items():
            times[name].append(seconds_per_step(case, arm))
    reference = times["no callbacks"]
    return {
        name: (statistics.median(own), statistics.median(a / b for a, b in zip(own, reference, strict=True)))
        for name, own in times.items()
    }


def mask_bytes_per_weight() -> float:
    """Memory of a LeNet-5's masks over the weights they mask."""
    owner = RigL(SPARSITY)
    quiet_trainer([owner], max_steps=1).fit(SparseClassifier(LeNet5(), num_classes=10), Noise(CASES[0]))
    return sum(mask.untyped_storage().nbytes() for mask in owner.masks.values()) / owner.masks.size


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    console = Console()
    for case in CASES:
        table = Table(title=f"{case.name}, {SPARSITY:.0%} sparse, {torch.get_num_threads()} threads")
        for column in ("Trainer with", "ms a step", "ratio to no callbacks"):
            table.add_column(column, justify="left" if column == "Trainer with" else "right")
        for name, (seconds, ratio) in measure(case).items():
            table.add_row(name, f"{seconds * 1e3:.2f}", f"{ratio:.3f}")
        console.print(table)
    console.print(f"mask memory: {mask_bytes_per_weight():.2f} bytes a weight")


if __name__ == "__main__":
    main()
