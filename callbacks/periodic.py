"""PeriodicUpdates: masks that change at certain optimizer steps, and wait while numbers are not finite."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.optim import Optimizer

from .observer import log_metrics
from .sparse_training import SparseTraining
from .sparsity import Schedule, UpdateWindow
from .sparsity.packing import count_packed, pack
from .sparsity.sharding import agreed, here
from .sparsity.transfer import fetch, norms_of
from .weight_averages import epochs_without_steps


class PeriodicUpdates(SparseTraining, ABC):
    """What methods share whose masks change in a window of the run; not a method itself.

    An update whose weights or gradients are not finite is put off to the next step and counted in
    ``sparsity/deferred``. With several optimizers each counts its own steps and updates its own weights.
    Logs ``sparsity/explored`` at each update: the share of all weights that were ever active.

    Args:
        sparsity: as in :class:`SparseTraining`.
        window: when to update. In manual optimization a fraction is one of the batches, so give steps for
            an optimizer that does not step once a batch.
        static: the other arguments of :class:`SparseTraining`.
    """

    def __init__(self, sparsity: float = 0.9, *, window: UpdateWindow = UpdateWindow(), **static: Any) -> None:
        super().__init__(sparsity, **static)
        self.window = window
        self._deferred: list[bool] = []  # by optimizer: an update waits for finite gradients
        self._deferrals = 0
        self._total_steps = math.inf
        self._explored: dict[str, Tensor] = {}  # packed: one bit a weight

    @abstractmethod
    def new_masks(self, optimizer: Optimizer, weights: Mapping[str, nn.Parameter], step: int) -> dict[str, Tensor]:
        """The masks that change after ``step`` steps, out of those of ``weights``, whose gradients are dense."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._total_steps = _steps_per_optimizer(trainer, pl_module)
        self.window.bounds(self._total_steps)  # refuses a window that does not fit the run
        if trainer.global_step == 0:
            self._deferred, self._deferrals = [False] * len(trainer.optimizers), 0
            self._explored = {name: pack(mask) for name, mask in self.masks.items()}

    def update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer, step: int
    ) -> dict[str, Tensor]:
        index = trainer.optimizers.index(optimizer)
        if not self._due(index, step) or not self._weights_of[index]:
            return {}
        weights = self._updatable(index)
        self._deferred[index] = not (weights and self._finite(weights))
        if self._deferred[index]:
            self._deferrals += 1
            log_metrics(trainer, {f"{self._prefix}deferred": float(self._deferrals)})
            return {}
        return self.new_masks(optimizer, weights, step)

    def _due(self, index: int, step: int) -> bool:
        """Whether an optimizer's masks are to change after so many steps of it."""
        return self._deferred[index] or self.window.due(step, self._total_steps)

    def gradient_counts(self) -> Mapping[str, int]:
        looked_at = [index for index, step in enumerate(self._steps) if self._looks_at_all(index, step)]
        dense = {name: weight.numel() for index in looked_at for name, weight in self._weights_of[index].items()}
        return {**super().gradient_counts(), **dense}

    def _looks_at_all(self, index: int, step: int) -> bool:
        """Whether this step of an optimizer uses the gradients of inactive weights."""
        return False

    def _updatable(self, index: int) -> dict[str, nn.Parameter]:
        """The weights that an update of this optimizer may change; without any it is put off."""
        return self._weights_of[index]

    def _finite(self, weights: Mapping[str, nn.Parameter]) -> bool:
        """Whether all that an update of these weights looks at are finite numbers."""
        finite = all_finite(here(t.detach()) for w in weights.values() for t in (w, w.grad) if t is not None)
        return agreed(finite, weights.values())

    def masks_changed(self, trainer: pl.Trainer, optimizer: Optimizer, changed: Mapping[str, Tensor]) -> None:
        super().masks_changed(trainer, optimizer, changed)
        for name, mask in self.masks.items():
            self._explored[name] |= pack(mask)
        log_metrics(trainer, {f"{self._prefix}explored": self.explored() / self.masks.size})

    def explored(self) -> int:
        return count_packed(self._explored.values())

    def _state(self) -> dict[str, Any]:
        return {
            **super()._state(),
            "deferred": list(self._deferred),
            "deferrals": self._deferrals,
            "explored": {name: bits.cpu() for name, bits in self._explored.items()},
        }

    def _load_state(self, state: Mapping[str, Any]) -> None:
        super()._load_state(state)
        self._deferred = list(state.get("deferred") or [False] * len(self._steps))
        self._deferrals = int(state.get("deferrals", 0))
        # a static run, going on as one whose masks move, has explored what it has
        explored = state.get("explored") or {name: pack(mask) for name, mask in self.masks.items()}
        self._explored = {name: bits.to(self._weights[name].device) for name, bits in explored.items()}


def check_drop_fraction(schedule: Schedule) -> None:
    """Refuse a drop fraction that is not a share.

    Raises:
        ValueError: it starts or ends outside [0, 1].
    """
    for progress, verb in ((0.0, "starts"), (1.0, "ends")):
        if not 0 <= schedule(progress) <= 1:
            raise ValueError(f"drop_fraction {verb} at {schedule(progress)}; it is a share in [0, 1]")


def lr_ratio(optimizer: Optimizer, weights: Mapping[str, nn.Parameter]) -> float:
    """Learning rate of the first of ``weights`` over its highest: that of a one-cycle schedule, else the initial."""
    first = next(iter(weights.values()))
    group = next(group for group in optimizer.param_groups if any(p is first for p in group["params"]))
    highest = float(group.get("max_lr", group.get("initial_lr", group["lr"])))
    return min(float(group["lr"]) / highest, 1.0) if highest else 1.0


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all entries are finite numbers."""
    tensors = list(tensors)
    # a norm passes NaN and infinity on; it may also overflow, so that a second look decides
    return all(map(math.isfinite, fetch(norms_of(tensors)))) or all(fetch(t.isfinite().all() for t in tensors))


def _steps_per_optimizer(trainer: pl.Trainer, pl_module: pl.LightningModule) -> float:
    """Optimizer steps of the whole run; in manual optimization max_steps counts those of all optimizers."""
    total = float(trainer.estimated_stepping_batches)
    if total < 0:  # a loader without length and no max_steps
        return math.inf
    if idle := epochs_without_steps(trainer):
        batches, epochs = trainer.num_training_batches, int(trainer.max_epochs or 0)
        total = min(total, math.ceil(batches / trainer.accumulate_grad_batches) * (epochs - idle))
    if not pl_module.automatic_optimization and trainer.max_steps > 0:
        total = min(total, trainer.max_steps / len(trainer.optimizers))
    return total
