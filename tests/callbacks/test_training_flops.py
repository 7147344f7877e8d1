"""What a fit costs, against sums by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from fits import TinyModule, TwoOptimizers, data, fit, loader, trainer
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from callbacks import SET, SNFS, GradualPruning, RigL, SparseGroups, SparseTraining, TopKAST, TrainingFlops
from callbacks.owner import MaskOwner
from callbacks.sparsity import (
    ERK,
    Flops,
    GradientScore,
    InvertedScore,
    MagnitudeScore,
    PruningWindow,
    RandomScore,
    UpdateWindow,
    select,
)

FLOPS = Flops.of(TinyModule(), torch.zeros(1, 1, 8, 8))
SHAPES = {name: weight.parameter.shape for name, weight in select(TinyModule()).items()}
SIZES = {name: shape.numel() for name, shape in SHAPES.items()}
WINDOW = UpdateWindow(4, stop=1.0)


def sparse(owner: MaskOwner) -> float:
    return FLOPS.sparse({name: owner.masks.counts[name] / mask.numel() for name, mask in owner.masks.items()})


def test_a_dense_fit_costs_three_forward_passes_a_sample() -> None:
    counter = TrainingFlops()
    fitted = fit(TinyModule(), [counter])
    assert FLOPS.dense == 2 * (36 * 8 * 9 + 288 * 24 + 24 * 5) + 36 * 8
    assert counter.total == counter.dense == pytest.approx(24 * 16 * 3 * FLOPS.dense)
    assert fitted.callback_metrics["sparsity/train_flops"] == pytest.approx(counter.total)


@pytest.mark.parametrize("first", [True, False], ids=["counter-first", "owner-first"])
def test_methods_pay_for_the_gradients_they_look_at(first: bool) -> None:
    for owner, dense_steps in ((SparseTraining(0.8), 0), (SET(0.8, window=WINDOW), 0), (RigL(0.8, window=WINDOW), 5)):
        counter = TrainingFlops()
        fit(TinyModule(), [counter, owner] if first else [owner, counter])
        assert [step for step in range(24) if WINDOW.due(step, 24)] == [4, 8, 12, 16, 20]
        expected = 24 * 3 * sparse(owner) + dense_steps * (FLOPS.dense - sparse(owner))
        assert counter.total == pytest.approx(16 * expected), owner
        assert counter.dense == pytest.approx(24 * 16 * 3 * FLOPS.dense)


def test_methods_that_look_at_more_gradients_pay_for_them() -> None:
    def shares(counts: Mapping[str, int]) -> dict[str, float]:
        return {name: count / SIZES[name] for name, count in counts.items()}

    snfs = SNFS(0.8, window=WINDOW, redistribute=False)
    several = RigL(0.8, window=UpdateWindow(4, stop=5), gradient_steps=3)
    kast = TopKAST(0.8, exploration=0.1, window=WINDOW)
    for owner, dense_steps in ((snfs, 24), (several, 3), (kast, 0)):
        counter = TrainingFlops()
        fit(TinyModule(), [counter, owner])
        expected = 24 * 3 * sparse(owner) + dense_steps * (FLOPS.dense - sparse(owner))
        if owner is kast:
            wider = ERK()(SHAPES, 0.7)
            expected += 24 * (FLOPS.sparse(shares(wider)) - sparse(owner))
        assert counter.total == pytest.approx(16 * expected), owner


def test_groups_pay_each_by_its_method() -> None:
    counter = TrainingFlops()
    first = RigL(0.5, include="network.4.weight", window=WINDOW, update_replaces_step=False)
    owner = SparseGroups([first, SET(0.8, include="network.6.weight", window=WINDOW, update_replaces_step=False)])
    fit(TinyModule(), [counter, owner])
    dense = FLOPS.sparse({"network.6.weight": owner.masks.counts["network.6.weight"] / 120}) - sparse(owner)
    assert counter.total == pytest.approx(16 * (24 * 3 * sparse(owner) + 5 * dense))


def test_pruning_pays_for_what_is_left() -> None:
    counter, owner = TrainingFlops(), GradualPruning(0.8, window=PruningWindow(4, start=0.0, stop=1.0))
    costs: list[float] = []

    class Watch(TinyModule):
        def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
            costs.append(3 * sparse(owner))

    fit(Watch(), [counter, owner])
    assert len(set(costs)) > 4
    assert counter.total == pytest.approx(16 * sum(costs))


def test_an_update_that_waits_costs_its_gradients_again() -> None:
    class NotFinite(TinyModule):
        def on_after_backward(self) -> None:
            if self.trainer.global_step in (4, 5):
                self.network[4].weight.grad[0, 0] = torch.nan

        def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
            self.network[4].weight.grad.nan_to_num_()  # the callbacks have seen it

    counter, owner = TrainingFlops(), RigL(0.8, window=UpdateWindow(4, stop=6), update_replaces_step=False)
    module = NotFinite()
    fit(module, [counter, owner], max_steps=8)
    expected = 8 * 3 * sparse(owner) + 3 * (FLOPS.dense - sparse(owner))  # the steps 4, 5 and 6
    assert counter.total == pytest.approx(16 * expected)


def test_small_last_batches_and_accumulated_ones_count_their_samples() -> None:
    counter = TrainingFlops()
    fitted = trainer([counter], max_steps=-1, max_epochs=2, accumulate_grad_batches=2)
    fitted.fit(TinyModule(), DataLoader(data(90), batch_size=16))
    assert counter.total == pytest.approx(2 * 90 * 3 * FLOPS.dense)


def test_a_stopped_fit_goes_on_counting(tmp_path: Path) -> None:
    whole, parts = TrainingFlops(), TrainingFlops()
    fit(TinyModule(), [whole, RigL(0.8, window=WINDOW)])
    first = trainer([parts, RigL(0.8, window=WINDOW)], max_steps=12)
    first.fit(TinyModule(), loader())
    first.save_checkpoint(tmp_path / "half.ckpt")
    again = TrainingFlops()
    second = trainer([again, RigL(0.8, window=WINDOW)])
    second.fit(TinyModule(), loader(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert parts.total < again.total == pytest.approx(whole.total)


def test_the_fit_is_the_same_with_and_without() -> None:
    modules = TinyModule(), TinyModule()
    fit(modules[0], [RigL(0.8, window=WINDOW)])
    fit(modules[1], [TrainingFlops(), RigL(0.8, window=WINDOW)])
    for one, other in zip(modules[0].state_dict().values(), modules[1].state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert not any(module._forward_hooks for module in modules[1].modules())


def test_a_module_that_cannot_run_as_a_copy_is_counted_by_its_forward() -> None:
    with pytest.raises(RuntimeError, match=r"pass TrainingFlops\(Flops.of\(module, example\)\)"):
        fit(TwoOptimizers(), [TrainingFlops()])
    module, owner = TwoOptimizers(), RigL(0.8, window=WINDOW)
    counter = TrainingFlops(Flops.of(module, torch.zeros(1, 1, 8, 8)))
    fit(module, [counter, owner], max_steps=16)  # of both optimizers together
    expected = 8 * 3 * sparse(owner) + 1 * (FLOPS.dense - sparse(owner))
    assert counter.total == pytest.approx(16 * expected)


def test_scores_say_whether_they_look_at_gradients() -> None:
    needs = [
        score.needs_gradient
        for score in (MagnitudeScore(), RandomScore(), GradientScore(), InvertedScore(GradientScore()))
    ]
    assert needs == [False, False, True, True]


def test_compiled_layers_are_counted_too() -> None:
    module = TinyModule()
    module.network = torch.compile(module.network, backend="eager")
    counted = Flops.of(module, torch.zeros(1, 1, 8, 8))
    assert isinstance(module.network, nn.Module)
    assert counted.dense == FLOPS.dense
