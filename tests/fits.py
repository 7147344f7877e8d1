"""Tiny modules, data and fits that the tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from gloo import use_one_thread
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

use_one_thread()

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd-momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2),
    "sgd-nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1, amsgrad=True),
}


class TinyModule(pl.LightningModule):
    """A convolution, a norm and two linear layers on 8x8 images."""

    def __init__(self, optimizer: str = "sgd-momentum", scheduled: bool = False) -> None:
        super().__init__()
        generator_state = torch.get_rng_state()
        torch.manual_seed(0)
        self.network = nn.Sequential(
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(288, 24),
            nn.ReLU(),
            nn.Linear(24, 5),
        )
        torch.set_rng_state(generator_state)
        self.optimizer_name, self.scheduled = optimizer, scheduled
        self.losses: list[float] = []

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(image)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        image, label = batch
        loss = nn.functional.cross_entropy(self.network(image), label)
        self.losses.append(loss.item())
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = OPTIMIZERS[self.optimizer_name](self.parameters())
        if not self.scheduled:
            return optimizer
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 24)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class TwoOptimizers(TinyModule):
    """Steps one optimizer for the first layers and one for the last, by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        loss = nn.functional.cross_entropy(self.network(batch[0]), batch[1])
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()

    def configure_optimizers(self) -> list[Optimizer]:
        parts = (self.network[:5].parameters(), self.network[5:].parameters())
        return [torch.optim.SGD(part, lr=0.05, momentum=0.9) for part in parts]


class Scripted(pl.LightningModule):
    """Linear layers with given weights, one row each, whose gradients are given too, step by step.

    With a learning rate of 0 the weights stay as they are, whatever the gradients.
    """

    def __init__(
        self, weights: dict[str, list[float]], gradients: list[dict[str, list[float]]], lr: float = 0.0
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: nn.Linear(len(row), 1, bias=False) for name, row in weights.items()})
        for name, row in weights.items():
            self.layers[name].weight.data = torch.tensor([row])
        self.gradients, self.lr = gradients, lr
        self.seen: list[dict[str, list[float]]] = []  # weights of each forward pass

    def training_step(self, batch: object, batch_idx: int) -> Tensor:
        self.seen.append(self.rows())
        gradients = self.gradients[self.global_step]
        return torch.stack(
            [(layer.weight * torch.tensor([gradients[name]])).sum() for name, layer in self.layers.items()]
        ).sum()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if not self.lr:
            self.zero_grad()  # 0 * NaN is NaN

    def rows(self) -> dict[str, list[float]]:
        return {name: layer.weight[0].tolist() for name, layer in self.layers.items()}

    def configure_optimizers(self) -> Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def data(samples: int = 96) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, 5, (samples,), generator=generator)
    image = torch.randn(samples, 1, 8, 8, generator=generator) + label.view(-1, 1, 1, 1)
    return TensorDataset(image, label)


def loader(samples: int = 96, batch_size: int = 16) -> DataLoader[Any]:
    return DataLoader(data(samples), batch_size=batch_size)


def trainer(callbacks: Sequence[pl.Callback], **arguments: Any) -> pl.Trainer:
    quiet: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_steps": 24,
        "max_epochs": -1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "log_every_n_steps": 5,
    }
    return pl.Trainer(callbacks=list(callbacks), **{**quiet, **arguments})


def fit(module: pl.LightningModule, callbacks: Sequence[pl.Callback], **arguments: Any) -> pl.Trainer:
    fitted = trainer(callbacks, **arguments)
    fitted.fit(module, loader())
    return fitted
