"""GraNet: what goes over all layers, what comes back in each."""

from __future__ import annotations

import math

import pytest
import torch
from fits import Scripted, TinyModule, fit
from logs import Memory
from test_pruning import Copies

from callbacks import GradualPruning, GraNet
from callbacks.sparsity import ERK, Constant, KeepValues, LinearDecay, Masks, PruningWindow, Uniform

WHOLE = PruningWindow(4, start=4, stop=1.0)


def test_two_updates_by_hand() -> None:
    weights = {"a": [9.0, 8.0, 1.0, 2.0, 0.0, 0.0], "b": [3.0, 4.0, 5.0, 0.0]}
    masks = {f"layers.{name}.weight": torch.tensor([row]) != 0 for name, row in weights.items()}
    none = {"a": [0.0] * 6, "b": [0.0] * 4}
    gradients = [
        none,
        none,
        # nothing to prune yet. a exchanges 2 of 4: 1 and 2 go, the gradients 9 and 7 come; b 1 of 3
        {"a": [0.0, 0.0, 1.0, 7.0, -9.0, 2.0], "b": [1.0, 0.0, 0.0, -2.0]},
        # down to 3 of all: 9, 8 and 5 are left; then a exchanges 1 of 2, and b none of 1
        {"a": [0.0, 3.0, 0.0, 0.0, 0.0, -4.0], "b": [9.0, 9.0, 9.0, 9.0]},
    ]
    owner = GraNet(
        0.8,
        initial_sparsity=0.3,
        drop_fraction=Constant(0.5),
        window=PruningWindow(1, start=2, stop=3),
        distribution=Uniform(),
        masks_from=Masks(masks),
    )
    copies, module = Copies(), Scripted(weights, gradients)
    fit(module, [owner, copies], max_steps=4)
    found = [{name[7]: mask[0].int().tolist() for name, mask in masks.items()} for masks in copies.after]
    assert found == [
        {"a": [1, 1, 0, 1, 1, 0], "b": [0, 1, 1, 1]},
        {"a": [1, 0, 0, 0, 0, 1], "b": [0, 0, 1, 0]},
    ]
    assert module.rows() == {"a": [9.0, 0.0, 0.0, 0.0, 0.0, 0.0], "b": [0.0, 0.0, 5.0, 0.0]}


@pytest.mark.parametrize("initial", [0.0, 0.5])
def test_the_sparsity_follows_the_cubic_schedule_of_the_paper(initial: float) -> None:
    memory = Memory()
    owner = GraNet(0.9, initial_sparsity=initial, window=WHOLE)
    fit(TinyModule(), [owner], logger=memory)
    logged = memory.of("sparsity/actual")
    for step in (4, 8, 12, 16, 20, 23):
        remaining = 1 - (step - 4) / 19
        assert logged[step] == pytest.approx(initial + (0.9 - initial) * (1 - remaining**3), abs=1e-3)
    explored = memory.of("sparsity/explored")
    assert explored[4] == 1.0 if initial == 0 else 0.6 < explored[4] <= 0.75  # half of the active ones may be exchanged
    assert list(explored.values()) == sorted(explored.values())


def test_without_exchange_it_is_global_pruning() -> None:
    window = PruningWindow(4, start=0.25, stop=1.0)
    owners = [
        GraNet(0.8, initial_sparsity=0.0, drop_fraction=Constant(0.0), window=window),
        GradualPruning(0.8, scope="global", distribution=ERK(), window=window),
    ]
    for owner in owners:
        fit(TinyModule(), [owner])
    assert owners[0].masks.digest() == owners[1].masks.digest()


def test_every_layer_exchanges_its_share_after_pruning() -> None:
    copies = Copies()
    owner = GraNet(0.8, drop_fraction=Constant(0.3), window=WHOLE, initialization=KeepValues())
    fit(TinyModule(), [owner, copies])
    back = 0
    for weights, gradients, before, after in zip(
        copies.weights, copies.gradients, copies.before, copies.after, strict=True
    ):
        for name, mask in after.items():
            count = after.counts[name]
            kept = count - math.floor(count * 0.3)
            order = weights[name].abs().masked_fill(~before[name], -1).flatten().argsort(descending=True, stable=True)
            assert mask.flatten()[order[:kept]].all(), "the largest magnitudes stay"
            rest = order[kept:]
            best = gradients[name].abs().flatten()[rest].topk(count - kept).values
            grown = gradients[name].abs().flatten()[rest[mask.flatten()[rest]]]
            torch.testing.assert_close(grown.sort(descending=True).values, best)
            back += int((mask & ~before[name]).sum())
    assert back > 0


@pytest.mark.parametrize("initial", [-0.1, 0.81, float("nan")])
def test_a_first_sparsity_above_the_last(initial: float) -> None:
    with pytest.raises(ValueError, match=r"initial_sparsity is .* final sparsity 0.8"):
        GraNet(0.8, initial_sparsity=initial)


def test_a_drop_fraction_above_one() -> None:
    with pytest.raises(ValueError, match="drop_fraction ends at 2"):
        GraNet(drop_fraction=LinearDecay(0.5, 2.0))
