"""I1, I2, I3, I6 and I8 for every method, optimizer and step option."""

from __future__ import annotations

import math

import pytest
import pytorch_lightning as pl
import torch
from fits import OPTIMIZERS, TinyModule, TwoOptimizers, fit
from logs import Memory
from methods import METHODS, MOVING, WINDOW, Method
from torch import Tensor
from witness import Witness
from zeros import Zeros

from callbacks import MaskObserver, RigL, SparseTraining
from callbacks.parts.optimizer_steps import ENTRYWISE
from callbacks.sparsity import ERK, Constant, Cosine, Distribution, Schedule, Uniform, UpdateWindow
from callbacks.sparsity.masks.zeros import all_finite

OPTIONS = {
    "plain": {},
    "accumulate-3": {"accumulate_grad_batches": 3, "max_steps": 12},
    "clip-norm": {"gradient_clip_val": 0.1},
    "clip-value": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    "bf16-mixed": {"precision": "bf16-mixed"},
}


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_invariants_with_every_optimizer(method: Method, optimizer: str) -> None:
    check(method, optimizer, {})


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("options", list(OPTIONS)[1:])
def test_invariants_with_every_option(method: Method, options: str) -> None:
    check(method, "sgd-momentum", OPTIONS[options])


@pytest.mark.parametrize("cls", ENTRYWISE)
def test_entrywise_optimizers_leave_masked_weights_at_zero_by_themselves(cls: type[torch.optim.Optimizer]) -> None:
    class Module(TinyModule):
        def configure_optimizers(self):
            return cls(self.parameters(), lr=0.01, weight_decay=0.01)

    owner = RigL(0.8, window=WINDOW, drop_fraction=Cosine(0.5))
    fit(Module(), [owner, Zeros(owner)])


class Mixing(torch.optim.SGD):
    """Moves every entry of a matrix by the mean gradient of its row, as second-order methods may."""

    @torch.no_grad()
    def step(self, closure=None):
        loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter -= 0.01 * parameter.grad.mean(-1, keepdim=True)
        return loss


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_optimizers_that_mix_entries_are_corrected(method: Method) -> None:
    class Module(TinyModule):
        def configure_optimizers(self):
            return Mixing(self.parameters(), lr=0.01)

    owner = method.build(0.8)
    fit(Module(), [owner, Zeros(owner)])


def check(method: Method, optimizer: str, options: dict) -> None:
    owner = method.build(0.8)
    witness = Witness(owner, method)
    module = TinyModule(optimizer, scheduled=True)
    trainer = fit(module, [owner, witness], **options)
    witness.check_end(trainer)
    assert trainer.gradient_clip_val == options.get("gradient_clip_val"), "clipping is on again"
    assert module.losses[-1] < module.losses[0]
    assert math.isfinite(module.losses[-1])


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_step_at_an_update_is_replaced_only_when_promised(method: Method) -> None:
    class Biases(pl.Callback):
        def __init__(self) -> None:
            self.moved: list[bool] = []
            self.last: Tensor | None = None

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            bias = pl_module.network[6].bias.detach().clone()
            self.moved.append(self.last is None or not torch.equal(bias, self.last))
            self.last = bias

    biases = Biases()
    fit(TinyModule(), [method.build(), biases], max_steps=12)
    still = [step for step, moved in enumerate(biases.moved) if not moved]
    assert still == ([4, 8] if method.replaces_step else [])


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_two_runs_are_equal_and_another_seed_is_not(method: Method) -> None:
    owners = [method.build(seed=seed) for seed in (0, 0, 1)]
    modules = [TinyModule() for _ in owners]
    for owner, module in zip(owners, modules, strict=True):
        fit(module, [owner], max_steps=10)
    assert owners[0].masks.digest() == owners[1].masks.digest()
    assert (owners[0].masks.digest() != owners[2].masks.digest()) == method.draws
    assert modules[0].losses == modules[1].losses


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", MOVING, ids=str)
def test_gradients_that_are_not_finite_put_an_update_off(method: Method, bad: float) -> None:
    class Spoil(TinyModule):
        """Spoils one gradient at step 4, when an update is due, and mends it before the optimizer sees it."""

        def on_after_backward(self) -> None:
            if self.global_step in (4, 5):
                self.network[4].weight.grad[0, 0] = bad

        def on_before_optimizer_step(self, optimizer) -> None:
            if self.global_step in (4, 5):
                self.zero_grad()

    class Updates(MaskObserver):
        def __init__(self) -> None:
            self.at: list[int] = []

        def on_after_mask_update(self, trainer, pl_module, masks) -> None:
            self.at.append(trainer.global_step)

    updates = Updates()
    trainer = fit(Spoil(), [method.build(), updates], max_steps=12)
    assert updates.at == [6, *(step for step in method.updates(12) if step > 6)]
    deferred = [value for name, value in trainer.callback_metrics.items() if name.endswith("/deferred")]
    assert deferred == [2]


@pytest.mark.parametrize(("largest", "finite"), [(1.0, True), (1e38, True), (math.inf, False), (math.nan, False)])
def test_large_numbers_are_finite_though_their_sum_or_norm_is_not(largest: float, finite: bool) -> None:
    assert all_finite([torch.ones(2, dtype=torch.bfloat16), torch.full((9,), largest), torch.ones(0)]) is finite


def test_weights_changed_behind_the_back_are_reported_with_both_numbers() -> None:
    class Meddle(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            if trainer.global_step == 7:
                torch.nn.init.ones_(pl_module.network[4].weight)

    memory = Memory()
    with pytest.raises(
        RuntimeError, match=r"weights outside the masks are not 0 at step \d+ .sparsity 0\.\d+ instead of 0\.79"
    ):
        fit(TinyModule(), [SparseTraining(0.8), Meddle()], log_every_n_steps=1, logger=memory)
    last = memory.rows[7]
    assert last["sparsity/actual"] < 0.1 < last["sparsity/target"]


def test_explored_never_falls_and_churn_is_a_share() -> None:
    class Curve(MaskObserver):
        def __init__(self) -> None:
            self.explored: list[float] = []
            self.churn: list[float] = []

        def on_train_batch_end(self, trainer, *_: object) -> None:
            if "sparsity/explored" in trainer.callback_metrics:
                self.explored.append(trainer.callback_metrics["sparsity/explored"].item())
                self.churn.append(trainer.callback_metrics["sparsity/churn"].item())

    curve, method = Curve(), next(m for m in METHODS if m.name == "set")
    fit(TinyModule(), [method.build(0.8), curve])
    assert curve.explored == sorted(curve.explored)
    assert 0.2 < curve.explored[0] < curve.explored[-1] <= 1
    assert all(0 < churn <= 0.5 for churn in curve.churn)


def test_the_drop_fraction_follows_progress_and_learning_rate() -> None:
    class Recorded(Schedule):
        """Notes what it is asked."""

        def __init__(self) -> None:
            self.asked: list[tuple[float, float]] = []

        def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
            self.asked.append((progress, lr_ratio))
            return 0.3

    schedule = Recorded()
    owner = RigL(0.8, window=UpdateWindow(4, stop=0.75), drop_fraction=schedule)
    fit(TinyModule(scheduled=True), [owner])  # 24 steps of a cosine to 0
    asked = schedule.asked[2:]  # after the two checks of the constructor
    assert [progress for progress, _ in asked] == pytest.approx([4 / 18, 8 / 18, 12 / 18, 16 / 18])
    assert [ratio for _, ratio in asked] == pytest.approx(
        [(1 + math.cos(math.pi * s / 24)) / 2 for s in (4, 8, 12, 16)]
    )


def test_the_number_exchanged_is_the_floor_of_active_times_fraction() -> None:
    class Count(MaskObserver):
        def on_before_mask_update(self, trainer, pl_module, masks) -> None:
            self.before = dict(masks)

        def on_after_mask_update(self, trainer, pl_module, masks) -> None:
            for name, mask in masks.items():
                gone = int((self.before[name] & ~mask).sum())
                assert gone <= math.floor(int(mask.sum()) * 0.25)
            self.largest = int((self.before["network.4.weight"] & ~masks["network.4.weight"]).sum())

    count = Count()
    owner = RigL(0.9, window=WINDOW, drop_fraction=Constant(0.25))
    fit(TinyModule(), [owner, count], max_steps=6)
    assert count.largest > 0.5 * 0.25 * owner.masks.counts["network.4.weight"]


@pytest.mark.parametrize("distribution", [Uniform(), ERK(), Uniform(first_layer_dense=True)])
def test_the_distribution_decides_the_layers(distribution: Distribution) -> None:
    owner = SparseTraining(0.8, distribution=distribution)
    fit(TinyModule(), [owner], max_steps=1)
    shapes = {name: mask.shape for name, mask in owner.masks.items()}
    assert owner.masks.counts == distribution(shapes, 0.8)


def test_several_optimizers_touch_only_their_own_weights() -> None:
    class Two(TwoOptimizers):
        def training_step(self, batch, batch_idx) -> None:
            one, two = self.optimizers()
            loss = torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])
            self.manual_backward(loss)
            dense = self.network[6].weight.grad.clone()
            one.step()
            assert torch.equal(self.network[6].weight.grad, dense), "the other's gradients are not masked yet"
            two.step()
            one.zero_grad()
            two.zero_grad()

    owner = RigL(0.6, window=WINDOW, drop_fraction=Cosine(0.5))
    fit(Two(), [owner, Zeros(owner)], max_steps=40)
    assert owner.masks.sparsity == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_the_memory_format_of_a_module_changes_no_mask(method: Method) -> None:
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        pl.seed_everything(0, verbose=False)
        module, owner = TinyModule("adamw"), method.build(0.6, seed=3)
        # without biases: the norm takes their gradient away, and AdamW would make steps of what rounding leaves
        convolutions = torch.nn.Conv2d(1, 4, 1, bias=False), torch.nn.Conv2d(4, 8, 3, bias=False)
        module.network[0] = torch.nn.Sequential(*convolutions)
        module.to(memory_format=layout)
        assert module.network[0][1].weight.is_contiguous(memory_format=layout)
        fit(module, [owner], precision="64-true", max_steps=13)  # in which rounding decides nothing
        for name, mask in owner.masks.items():
            assert mask.stride() == module.get_parameter(name).stride(), "a mask lies as its weight does"
        found.append((owner.masks, module.state_dict()))
    (masks, weights), (others, theirs) = found
    assert masks.digest() == others.digest()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, theirs[name], rtol=1e-9, atol=1e-9)
