"""How often Python waits for a GPU, and how much it asks of one: little a layer, whatever else a method does."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from fits import TinyModule, fit
from operations import Operations
from torch import nn

from callbacks import RigL
from callbacks.sparsity import Constant, UpdateWindow, gradient_flow, top_k
from callbacks.sparsity.analysis.flow import GradientFlow


def update(layers: int) -> Operations:
    """What the step of a mask update does before the optimizer's step."""
    module, operations = TinyModule(), Operations()
    hidden = [layer for _ in range(layers) for layer in (nn.Linear(24, 24), nn.Tanh())]
    module.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), *hidden, nn.Linear(24, 5))
    owner = RigL(0.5, window=UpdateWindow(2, stop=3), drop_fraction=Constant(0.3))
    masks, step = [], owner.on_before_optimizer_step

    def watched(trainer: pl.Trainer, *others: object) -> None:
        masks.append(owner.masks)
        (operations.of(step) if trainer.global_step == 2 else step)(trainer, *others)

    owner.on_before_optimizer_step = watched
    fit(module, [owner], max_steps=4)
    assert masks[0] is masks[2] is not masks[3]
    return operations


def test_an_update_waits_twice_a_layer_to_choose_and_for_nothing_else() -> None:
    few, many = update(4), update(20)
    assert many.waits - few.waits <= 2 * 16
    assert few.waits <= 2 * 6 + 16
    assert many.launches - few.launches <= 45 * 16


@pytest.mark.parametrize("layers", [1, 8, 40])
def test_gradient_flow_is_read_once(layers: int) -> None:
    gradients = {f"{part}{i}": torch.tensor([3.0, 4.0]) for i in range(layers) for part in ("weight", "bias")}
    masks = {f"weight{i}": torch.tensor([True, False]) for i in range(layers)}
    operations = Operations()
    flow = operations.of(gradient_flow)(gradients, masks)
    assert flow["weight0"] == GradientFlow(5.0, 3.0, 4.0)
    assert operations.waits == 1
    assert operations.launches <= 4 * layers + 2


@pytest.mark.parametrize(
    ("least", "best", "waits"), [(0, [*range(30, 100)], 1), (50, [*range(21), *range(51, 100)], 2)]
)
def test_a_choice_waits_once_and_once_more_for_ties(least: int, best: list[int], waits: int) -> None:
    score, operations = torch.arange(100.0).clamp_min(least), Operations()
    chosen = operations.of(top_k)(score, 70, torch.ones(100, dtype=torch.bool))
    assert chosen.nonzero().flatten().tolist() == best
    assert operations.waits == waits
