"""What holds with an optimizer: zeros outside the masks, state that is cleared, and how weights that grow begin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from callbacks import SET, MaskObserver
from callbacks.parts.optimizer_steps import optimizers_within
from callbacks.sparsity import UpdateWindow

from ..quiet_trainer import quiet_trainer
from .kinds import Kind

FIRST = 20  # the steps of a grown weight that are looked at


class Learner(pl.LightningModule):
    """Learns what a random network of the same shape answers; all its parameters are matrices, which Muon wants."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind, self.automatic_optimization = kind, not kind.by_hand
        self.network = _network()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor | None:
        if self.automatic_optimization:
            return nn.functional.cross_entropy(self.network(batch[0]), batch[1])
        optimizer: Any = self.optimizers()

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.network(batch[0]), batch[1])
            self.manual_backward(loss)
            return loss

        closure()
        optimizer.step(closure=closure)
        return None

    def on_train_start(self) -> None:
        for optimizer in self.trainer.optimizers:
            getattr(optimizer, "train", lambda: None)()  # what is free of a schedule has two modes

    def configure_optimizers(self) -> Optimizer:
        return self.kind.make(self.parameters())


class Promises(MaskObserver):
    """Watches a fit.

    Attributes:
        outside: weights outside the masks that were not 0 after a step.
        states: entries of optimizer state that each weight has of its own, by the name of the state.
        uncleared: of those, how many of dropped and grown weights did not have the value of a new parameter.
        ratios: mean step of the weights that grew over that of those that stayed, at each step after the update.
    """

    def __init__(self, callback: SET) -> None:
        self.callback = callback
        self.outside = self.uncleared = 0
        self.states: set[str] = set()
        self.ratios: list[float] = []
        self._before: Mapping[str, Tensor] = {}
        self._grown: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}

    def on_before_mask_update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, masks: Mapping[str, Tensor]
    ) -> None:
        self._before = masks

    def on_after_mask_update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, masks: Mapping[str, Tensor]
    ) -> None:
        for name, mask in masks.items():
            self._grown[name] = mask & ~self._before[name]
            for optimizer in trainer.optimizers:
                for key, state, fresh in entry_states(optimizer, pl_module.get_parameter(name)):
                    self.states.add(key)
                    self.uncleared += int((state[mask != self._before[name]] != fresh).count_nonzero())

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        self._weights = {name: pl_module.get_parameter(name).detach().clone() for name in self._grown}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        for name, mask in self.callback.masks.items():
            self.outside += int(pl_module.get_parameter(name)[~mask].count_nonzero())
        if self._weights and len(self.ratios) < FIRST:
            self.ratios.append(self._ratio(pl_module))

    def _ratio(self, module: nn.Module) -> float:
        """Return how much further the weights that grew went in this step than those that stayed, in the mean."""
        grown, stayed = [], []
        for name, before in self._weights.items():
            moved = (module.get_parameter(name).detach() - before).abs()
            grown.append(moved[self._grown[name]])
            stayed.append(moved[self.callback.masks[name] & self._before[name]])
        return float(torch.cat(grown).mean() / torch.cat(stayed).mean())


def watch(kind: Kind, steps: int, seed: int) -> Promises:
    """Train with SET, which grows at random, so that nothing but its state sets a grown weight apart.

    Args:
        kind: the optimizer.
        steps: before the mask update.
        seed: of network, masks and data.

    Raises:
        ImportError: the optimizer's library is not installed.
        Exception: whatever refuses the optimizer.
    """
    torch.manual_seed(seed)
    callback = SET(0.8, window=UpdateWindow(steps, stop=1.0), seed=seed)
    promises, images = Promises(callback), torch.randn(4096, 64)
    with torch.no_grad():
        labels = _network()(images).argmax(1)
    total = steps + 1 + FIRST
    trainer = quiet_trainer([promises, callback], max_steps=total, max_epochs=-1, log_every_n_steps=10**9)
    trainer.fit(Learner(kind), DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True))
    return promises


def entry_states(optimizer: Optimizer, weight: nn.Parameter) -> Iterator[tuple[str, Tensor, float]]:
    """Yield each state that an optimizer has for every entry of a weight: name, values, what a new entry has."""
    for holding in optimizers_within(optimizer):
        state: Mapping[str, Any] = holding.state.get(weight, {})
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                plain = value.dequantize() if hasattr(value, "qmap") else value
                new = {"sum": "initial_accumulator_value", "step_size": "lr"}.get(key)
                yield key, plain, float(holding.defaults.get(new, 0.0)) if new else 0.0


def _network() -> nn.Sequential:
    layers = [nn.Linear(inputs, outputs, bias=False) for inputs, outputs in ((64, 128), (128, 128), (128, 10))]
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
