"""Witness: checks a fit while it runs for what every sparse method promises."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from methods import Method
from torch import Tensor
from zeros import assert_zeros

from callbacks import MaskObserver, MaskOwner
from callbacks.parts.part import Part


class Witness(MaskObserver):
    """Checks what must hold after every optimizer step and at every update, and counts what it saw."""

    def __init__(self, owner: MaskOwner, method: Method) -> None:
        self.owner, self.method, self.steps = owner, method, 0
        self.updates: list[int] = []
        self.changed: dict[str, Tensor] = {}
        self.before: dict[str, Tensor] = {}
        self.densest = 0.0

    def on_dense_gradients(self, trainer, pl_module, optimizer, masks) -> None:
        for name, mask in masks.items():
            grad = pl_module.get_parameter(name).grad
            self.densest = max(self.densest, (grad[~mask] != 0).float().mean().item())

    def on_before_mask_update(self, trainer, pl_module, masks) -> None:
        self.before = dict(masks)
        self.values = {name: values.clone() for name, values in getattr(self.owner, "reservoir", {}).items()}

    def on_after_mask_update(self, trainer, pl_module, masks) -> None:
        self.updates.append(trainer.global_step)
        state = trainer.optimizers[0].state
        totals = [sum(int(mask.sum()) for mask in each.values()) for each in (self.before, masks)]
        changes = self.method.prunes or self.method.resizes
        assert totals[0] == totals[1] or changes, "I2: the number of active weights changed"
        for name, mask in masks.items():
            weight, old = pl_module.get_parameter(name), self.before[name]
            if self.method.prunes:
                assert mask.sum() <= old.sum(), "I2: a layer that is pruned grew"
                assert self.method.regrows or not (mask & ~old).any(), "I2: a pruned weight came back"
            elif not (self.method.trades or self.method.resizes):  # test_structured.py says how counts change then
                assert mask.sum() == old.sum(), "I2: the number of active weights of a layer changed"
            grown = self.values[name] if self.method.reservoir else torch.zeros_like(weight)
            assert (weight == grown)[mask & ~old].all(), "I2: grown weights start at 0, or as they waited"
            assert (weight[~mask] == 0).all(), "I1: dropped weights are 0"
            cleared = ~self.owner.backward_masks[name] if self.method.reservoir else mask ^ old
            for tensor in state[weight].values():
                if torch.is_tensor(tensor) and tensor.shape == weight.shape:
                    assert (tensor[cleared] == 0).all(), "I3: state of changed entries is cleared"
                    assert (tensor[mask & old] != 0).any(), "I3: state of the others is kept"
            self.changed[name] = self.changed.get(name, torch.zeros_like(mask)) | (mask ^ old)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.steps += 1
        assert_zeros(self.owner, pl_module, trainer.optimizers)

    def check_end(self, trainer: pl.Trainer) -> None:
        """What must hold when a fit is over."""
        unused = sum(budget(part) for part in self.owner.parts) - sum(self.owner.masks.counts.values())
        most = sum(len(mask) for mask in self.owner.masks.values()) if self.method.rounds else 1
        assert 0 <= unused < most
        assert trainer.callback_metrics["sparsity/actual"] == trainer.callback_metrics["sparsity/target"], "I8"
        assert self.densest > 0.5, "observers see dense gradients"
        assert self.updates == self.method.updates(trainer.global_step)
        assert any(c.any() for c in self.changed.values()) == self.method.moves
        assert ("sparsity/explored" in trainer.callback_metrics) == self.method.moves


def budget(part: Part) -> int:
    """How many weights a method is to keep in the end."""
    shapes = {name: mask.shape for name, mask in part.masks.items()}
    return sum(part.method.distribution(shapes, part.method.sparsity).values())
