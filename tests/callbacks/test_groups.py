"""SparseGroups: each method does what it does alone, and the rest of the run sees one owner of one set of masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fits import TinyModule, TwoOptimizers, fit, loader, trainer
from logs import Memory
from methods import WINDOW

from callbacks import (
    SET,
    GradualPruning,
    MaskObserver,
    PruneAtStart,
    RigL,
    SparseGroups,
    SparseTraining,
    SRigL,
    read_masks,
)
from callbacks.lottery.ticket import Ticket, TicketOwner
from callbacks.sparsity import ERK, SNIP, Cosine, MagnitudeScore, PruningWindow, UpdateWindow

FAST = {"window": WINDOW, "drop_fraction": Cosine(0.5)}
CONV, HIDDEN, LAST = "network.0.weight", "network.4.weight", "network.6.weight"


def moving(seed: int = 1, **arguments: Any) -> SparseGroups:
    """Two methods whose updates fall on the same steps, and one that stays."""
    return SparseGroups(
        [
            RigL(0.9, include=HIDDEN, seed=seed, **{**FAST, **arguments}),
            SET(0.6, include=LAST, seed=seed + 1, **{**FAST, **arguments}),
            SparseTraining(0.5, include="Conv2d", seed=seed + 2),
        ]
    )


class Seen(MaskObserver):
    """What an observer is told."""

    def __init__(self) -> None:
        self.dense: list[int] = []
        self.updates: list[int] = []
        self.changed: dict[str, list[int]] = {}
        self.names: set[tuple[str, ...]] = set()

    def on_dense_gradients(self, trainer, pl_module, optimizer, masks) -> None:
        self.dense.append(trainer.global_step)
        self.names.add(tuple(masks))

    def on_before_mask_update(self, trainer, pl_module, masks) -> None:
        self.before = dict(masks)

    def on_after_mask_update(self, trainer, pl_module, masks) -> None:
        self.updates.append(trainer.global_step)
        self.names.add(tuple(masks))
        for name, mask in masks.items():
            if not torch.equal(mask, self.before[name]):
                self.changed.setdefault(name, []).append(trainer.global_step)


def test_observers_see_all_masks_once_a_step_and_each_method_moves_its_own() -> None:
    owner, seen, memory = moving(), Seen(), Memory()
    fit(TinyModule(), [seen, owner], logger=memory)
    assert seen.names == {(HIDDEN, LAST, CONV)} == {tuple(owner.masks)}
    assert seen.dense == list(range(24))
    assert seen.updates == [4, 8, 12, 16, 20]
    assert seen.changed == {HIDDEN: seen.updates, LAST: seen.changed[LAST]}
    assert seen.changed[LAST]
    sizes = {HIDDEN: (0.9, 6912), LAST: (0.6, 120), CONV: (0.5, 72)}
    kept = {name: size - int(sparsity * size) for name, (sparsity, size) in sizes.items()}
    assert owner.masks.counts == kept
    overall = 1 - sum(kept.values()) / sum(size for _, size in sizes.values())
    assert set(memory.of("sparsity/actual").values()) == set(memory.of("sparsity/target").values()) == {overall}
    assert list(memory.of("sparsity/churn")) == seen.updates
    for index, name in enumerate(sizes):
        assert set(memory.of(f"sparsity/group{index}/actual").values()) == {1 - kept[name] / sizes[name][1]}
    assert list(memory.of("sparsity/group0/explored")) == list(memory.of("sparsity/group1/explored")) == seen.updates
    assert not memory.of("sparsity/group2/explored")


@pytest.mark.parametrize(
    "build",
    [
        lambda: SparseTraining(0.8, seed=3),
        lambda: RigL(0.8, seed=3, **FAST),
        lambda: SRigL(0.8, seed=3, gamma=0.7, **FAST),
        lambda: PruneAtStart(0.8, criterion=SNIP(), seed=3),
        lambda: GradualPruning(0.8, window=PruningWindow(4, start=0.0, stop=1.0), score=MagnitudeScore()),
    ],
)
def test_a_method_in_a_group_does_what_it_does_alone(build) -> None:
    alone, grouped, modules = build(), SparseGroups([build()]), [TinyModule(), TinyModule()]
    logs = [Memory(), Memory()]
    for owner, module, memory in zip((alone, grouped), modules, logs, strict=True):
        fit(module, [owner], logger=memory)
    assert grouped.masks.digest() == alone.masks.digest()
    assert modules[0].losses == modules[1].losses
    for key in ("target", "actual", "churn"):
        assert logs[1].of(f"sparsity/{key}") == logs[0].of(f"sparsity/{key}")
    for key in ("target", "actual", "explored", "ablated"):
        assert logs[1].of(f"sparsity/group0/{key}") == logs[0].of(f"sparsity/{key}")


def test_gradients_of_one_method_put_off_its_updates_alone() -> None:
    class Spoil(TinyModule):
        def on_after_backward(self) -> None:
            if self.global_step == 4:
                self.network[4].weight.grad[0, 0] = float("nan")

        def on_before_optimizer_step(self, optimizer) -> None:
            if self.global_step == 4:
                self.zero_grad()

    memory, seen = Memory(), Seen()
    fit(Spoil(), [moving(), seen], max_steps=7, logger=memory)
    assert seen.changed[HIDDEN] == [5]
    assert seen.changed[LAST] == [4]
    assert memory.of("sparsity/group0/deferred") == {4: 1.0}
    assert not memory.of("sparsity/group1/deferred")


def test_methods_with_optimizers_of_their_own() -> None:
    owner = SparseGroups([RigL(0.8, exclude=LAST, **FAST), SET(0.5, include=LAST, seed=1, **FAST)])
    memory = Memory()
    fit(TwoOptimizers(), [owner], max_steps=40, logger=memory)
    assert owner.masks.counts[LAST] == 60
    assert memory.of("sparsity/group0/explored")
    assert memory.of("sparsity/group1/explored")


def test_clipping_is_on_again_after_updates_of_several_methods() -> None:
    fitted = fit(TinyModule(), [moving()], gradient_clip_val=0.01, gradient_clip_algorithm="value", max_steps=10)
    assert fitted.gradient_clip_val == 0.01


def test_a_part_is_pruned_while_another_moves() -> None:
    memory = Memory()
    pruning = GradualPruning(0.9, include=HIDDEN, window=PruningWindow(4, start=0.0, stop=0.8))
    owner = SparseGroups([pruning, RigL(0.6, include=LAST, **FAST)])
    fit(TinyModule(), [owner], logger=memory)
    targets = list(memory.of("sparsity/target").values())
    assert targets == list(memory.of("sparsity/actual").values()) == sorted(targets)
    assert targets[0] < 0.1
    assert owner.masks.counts == {HIDDEN: 692, LAST: 48}


def test_weights_that_two_methods_select_are_refused_by_name() -> None:
    groups = SparseGroups([RigL(0.9, include="Linear"), SET(0.8, include="network.6.*")])
    with pytest.raises(
        ValueError,
        match=r"'network.6.weight' is selected by methods\[0\] RigL.include='Linear', .* methods\[1\] SET.*narrow",
    ):
        fit(TinyModule(), [groups])


def test_a_group_beside_another_owner_is_refused() -> None:
    with pytest.raises(ValueError, match="SparseGroups and RigL would both own the masks"):
        fit(TinyModule(), [moving(), RigL()])


def test_no_method_and_methods_that_work_only_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="methods is empty"):
        SparseGroups([])
    masks = SparseTraining().masks
    ticket = TicketOwner(Ticket(1, "weights", masks, {}, Path("ticket.ckpt")))
    with pytest.raises(ValueError, match="TicketOwner works only alone: it relies on on_fit_start"):
        SparseGroups([ticket])


def test_weights_changed_behind_the_back_are_reported() -> None:
    class Meddle(MaskObserver):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            if trainer.global_step == 7:
                torch.nn.init.ones_(pl_module.network[6].weight)

    with pytest.raises(RuntimeError, match="72 weights outside the masks are not 0"):
        fit(TinyModule(), [moving(), Meddle()], log_every_n_steps=1)


# --- resuming -----------------------------------------------------------------------------------


def test_stop_and_resume_between_updates_of_several_methods(tmp_path: Path) -> None:
    def run(steps: int, ckpt: Path | None = None):
        # the same part of the run whatever its end
        owner, module = moving(window=UpdateWindow(4, stop=100)), TinyModule()
        fitted = trainer([owner], max_steps=steps)
        fitted.fit(module, loader(samples=16), ckpt_path=ckpt)  # the same batch every step
        return fitted, owner, module

    whole, part = run(18), run(12)
    part[0].save_checkpoint(tmp_path / "part.ckpt")
    torch.load(tmp_path / "part.ckpt", weights_only=True)
    rest = run(18, tmp_path / "part.ckpt")
    assert rest[1].masks.digest() == whole[1].masks.digest() != part[1].masks.digest()
    for name, weight in whole[2].state_dict().items():
        assert torch.equal(rest[2].state_dict()[name], weight)
    states = [owner.parts[0].ever_active[HIDDEN] for _, owner, _ in (whole, rest)]
    assert torch.equal(*states)
    assert read_masks(tmp_path / "part.ckpt").digest() == part[1].masks.digest()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: SparseGroups([RigL(0.9, include=HIDDEN, seed=1, **FAST)]), "do not fit the selected weights"),
        (lambda: SparseGroups([RigL(0.8, seed=1, **FAST)]), r"the masks of the checkpoint keep 36 weights in"),
        (lambda: moving(seed=5), "seed 1, but this run has seed 5"),
    ],
)
def test_resuming_with_other_methods(tmp_path: Path, other, message: str) -> None:
    fit(TinyModule(), [moving()], max_steps=6).save_checkpoint(tmp_path / "part.ckpt")
    with pytest.raises(ValueError, match=message):
        trainer([other()]).fit(TinyModule(), loader(), ckpt_path=tmp_path / "part.ckpt")


def test_groups_go_on_as_one_static_method_but_not_the_other_way(tmp_path: Path) -> None:
    fit(TinyModule(), [moving()], max_steps=6).save_checkpoint(tmp_path / "groups.ckpt")
    static = SparseTraining(masks_from=tmp_path / "groups.ckpt")
    fit(TinyModule(), [static], max_steps=2)
    assert static.masks.counts == read_masks(tmp_path / "groups.ckpt").counts
    fit(TinyModule(), [RigL(0.8, distribution=ERK())], max_steps=6).save_checkpoint(tmp_path / "one.ckpt")
    with pytest.raises(ValueError, match=r"holds groups of \[3\] weights"):
        trainer([moving()]).fit(TinyModule(), loader(), ckpt_path=tmp_path / "one.ckpt")


def test_a_second_fit_of_the_same_module_goes_on() -> None:
    owner, module = moving(), TinyModule()
    fit(module, [owner], max_steps=10)
    before = owner.masks.digest()
    fit(module, [owner], max_steps=3)
    assert owner.masks.digest() == before
    fit(TinyModule(), [owner], max_steps=3)
    assert owner.masks.digest() != before, "another module starts anew"
