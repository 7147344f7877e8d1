"""SNFS: which weights go, which layers get them, where they grow."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fits import Scripted, TinyModule, TwoOptimizers, fit, loader, trainer

from callbacks import SNFS, RigL, SparseTraining, read_masks
from callbacks.sparsity import Constant, Cosine, KeepValues, Masks, Uniform, UpdateWindow

WINDOW = UpdateWindow(4, stop=1.0)

# Smoothed with momentum 0.5, three gradients weigh 1/8, 1/4 and 1/2.
A = [[8.0, 8.0, 8.0, 8.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, -8.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 6.0]]
B = [[-16.0, 0.0, 0.0, 0.0], [-8.0, 0.0, 4.0, 0.0], [0.0, 0.0, 0.0, 4.0]]
# smoothed: a 1, 1, 1, 1, -2, 3 and b -4, 0, 1, 2; the mean over active weights is 1 and 2


@pytest.mark.parametrize(
    ("redistribute", "a", "b"),
    [
        # a drops 2 of 4 (1 and 2), b 1 of 2 (5); of these 3 a gets 1 and b 2
        (True, [1, 0, 1, 0, 0, 1], [1, 1, 0, 1]),
        (False, [1, 0, 1, 0, 1, 1], [1, 1, 0, 0]),  # each keeps its number
    ],
)
def test_an_update_by_hand(redistribute: bool, a: list[int], b: list[int]) -> None:
    weights = {"a": [4.0, 1.0, 3.0, 2.0, 0.0, 0.0], "b": [5.0, 6.0, 0.0, 0.0]}
    masks = {f"layers.{name}.weight": torch.tensor([row]) != 0 for name, row in weights.items()}
    owner = SNFS(
        0.4,
        momentum=0.5,
        redistribute=redistribute,
        drop_fraction=Constant(0.5),
        window=UpdateWindow(2, stop=1.0),
        masks_from=Masks(masks),
        initialization=KeepValues(),
    )
    module = Scripted(weights, [{"a": x, "b": y} for x, y in zip(A, B, strict=True)])
    fit(module, [owner], max_steps=3)
    assert owner.masks["layers.a.weight"][0].int().tolist() == a
    assert owner.masks["layers.b.weight"][0].int().tolist() == b
    assert module.rows() == {
        "a": [4.0, 0.0, 3.0, 0.0, 0.0, 0.0],
        "b": [5.0, 6.0, 0.0, 0.0],  # 5 was dropped and grown again: it keeps its value
    }


def test_without_momentum_and_trade_it_is_rigl() -> None:
    owners = [RigL(0.8, window=WINDOW), SNFS(0.8, window=WINDOW, momentum=0.0, redistribute=False)]
    modules = [TinyModule() for _ in owners]
    for owner, module in zip(owners, modules, strict=True):
        fit(module, [owner], max_steps=14)
    assert owners[0].masks.digest() == owners[1].masks.digest()
    assert modules[0].losses == modules[1].losses


def test_a_drop_fraction_of_one_empties_no_layer() -> None:
    owner = SNFS(0.95, window=WINDOW, drop_fraction=Constant(1.0))
    fit(TinyModule(), [owner])
    counts = owner.masks.counts
    start = owner.parts[0].method.distribution({name: mask.shape for name, mask in owner.masks.items()}, 0.95)
    assert sum(counts.values()) == sum(start.values())
    assert counts != start
    assert all(counts.values())


def test_gradients_that_are_not_finite_are_not_smoothed() -> None:
    gradients = [{"a": [1.0, float("inf")]}, {"a": [4.0, 8.0]}, {"a": [float("nan"), 0.0]}]
    owner = SNFS(0.5, momentum=0.5, window=UpdateWindow(100, stop=200))
    fit(Scripted({"a": [1.0, 1.0]}, gradients), [owner], max_steps=3)
    assert owner.parts[0].averages.values["layers.a.weight"].tolist() == [[2.0, 4.0]]


def test_optimizers_trade_among_their_own_weights() -> None:
    owner = SNFS(0.6, window=WINDOW, drop_fraction=Cosine(0.5), distribution=Uniform())
    fit(TwoOptimizers(), [owner], max_steps=40)
    counts = owner.masks.counts
    start = owner.parts[0].method.distribution({name: mask.shape for name, mask in owner.masks.items()}, 0.6)
    last = "network.6.weight"
    assert counts[last] == start[last]
    assert sum(counts.values()) == sum(start.values())
    assert counts != start


def test_a_run_goes_on_only_with_as_many_weights(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    traded = SNFS(0.8, window=WINDOW)
    fit(TinyModule(), [traded], max_steps=6).save_checkpoint(path)

    def resume(owner: SparseTraining) -> None:
        trainer([owner], max_steps=12).fit(TinyModule(), loader(), ckpt_path=path)

    for refused in (SNFS(0.9, window=WINDOW), SNFS(0.8, redistribute=False), RigL(0.8)):
        with pytest.raises(ValueError, match=r"keep \d+ weights in 'network.\d.weight', but .* keeps"):
            resume(refused)
    static = SparseTraining(masks_from=path)  # a new run may start with the masks
    fit(TinyModule(), [static], max_steps=3)
    assert static.masks.digest() == read_masks(path).digest()


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_momentum_outside_its_range(momentum: float) -> None:
    with pytest.raises(ValueError, match="momentum is"):
        SNFS(momentum=momentum)
