"""GradualPruning: how much goes when, and what goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from fits import TinyModule, TwoOptimizers, fit, loader, trainer
from logs import Memory
from zeros import Zeros

from callbacks import GradualPruning, MaskObserver, RigL, SparseTraining, read_masks
from callbacks.sparsity import (
    ERK,
    Constant,
    Cubic,
    LinearDecay,
    Masks,
    PruningWindow,
    SaliencyScore,
    Uniform,
    UpdateWindow,
)
from lightning_modules import SparseClassifier
from lightning_modules.networks import LeNet5

SIZES = {"network.0.weight": 72, "network.4.weight": 6912, "network.6.weight": 120}
WHOLE = PruningWindow(4, start=0.0, stop=1.0)


class Copies(MaskObserver):
    """Weights, gradients and masks just before each update, and the masks after it."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.before: list[Masks] = []
        self.after: list[Masks] = []

    def on_before_mask_update(self, trainer, pl_module, masks) -> None:
        self.weights.append({name: pl_module.get_parameter(name).detach().clone() for name in masks})
        self.gradients.append({name: pl_module.get_parameter(name).grad.clone() for name in masks})
        self.before.append(masks)

    def on_after_mask_update(self, trainer, pl_module, masks) -> None:
        self.after.append(masks)


def test_lenet5_of_the_paper_ends_with_its_counts() -> None:
    class Images(SparseClassifier):
        def train_dataloader(self):
            generator = torch.Generator().manual_seed(0)
            images = torch.randn(8, 1, 28, 28, generator=generator)
            return torch.utils.data.DataLoader(list(zip(images, torch.arange(8), strict=True)), batch_size=4)

    owner = GradualPruning(0.95, window=PruningWindow(2, 0.25, 0.6))
    trainer([owner], max_steps=10).fit(Images(LeNet5(), num_classes=10))
    assert list(owner.masks.counts.values()) == [8, 120, 1536, 504, 42]  # gradient_flow paper's LeNet-5, sum 2,210


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_logged_sparsity_follows_the_cubic_to_the_weight(scope: str) -> None:
    memory = Memory()
    fit(TinyModule(), [GradualPruning(0.8, window=PruningWindow(4, 5, 18), scope=scope)], logger=memory)
    wanted, now = {}, 0.0
    for step in range(24):
        if step in (5, 9, 13, 17, 18):
            now = 0.8 * (1 - (1 - (step - 5) / 13) ** 3)
        zeros = sum(int(now * size + 1e-9) for size in SIZES.values())
        wanted[step] = zeros / sum(SIZES.values())
    for key in ("sparsity/actual", "sparsity/target"):
        logged = memory.of(key)
        assert set(logged) >= {0, 9, 13, 17, 18, 20, 24}, "updates, every fifth step and the end"
        assert logged == pytest.approx({step: wanted[min(step, 23)] for step in logged}, abs=1e-12)
    assert memory.of("sparsity/churn") == dict.fromkeys((9, 13, 17, 18), 0.0), "nothing is exchanged"


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("score", ["magnitude", "saliency"])
def test_the_lowest_scores_go(scope: str, score: str) -> None:
    copies = Copies()
    chosen = {"score": SaliencyScore()} if score == "saliency" else {}
    fit(TinyModule(), [GradualPruning(0.8, window=WHOLE, scope=scope, **chosen), copies])
    assert len(copies.after) == 6  # after 4, 8, ... 20 and 23 steps; at 0 there is nothing to prune
    for weights, gradients, before, after in zip(
        copies.weights, copies.gradients, copies.before, copies.after, strict=True
    ):
        values = {
            name: (weight if score == "magnitude" else weight * gradients[name]).abs()
            for name, weight in weights.items()
        }
        groups = [list(SIZES)] if scope == "global" else [[name] for name in SIZES]
        for group in groups:
            kept = torch.cat([values[name][after[name]] for name in group])
            gone = torch.cat([values[name][before[name] & ~after[name]] for name in group])
            assert all(gone <= kept.min())
    assert len({after.counts["network.4.weight"] for after in copies.after}) == 6


def test_a_layer_of_tiny_weights_keeps_one_under_a_global_threshold() -> None:
    module = TinyModule()
    with torch.no_grad():
        module.network[6].weight *= 1e-6
    owner = GradualPruning(0.95, window=PruningWindow(4, 0.0, 0.1), scope="global")
    fit(module, [owner])
    assert owner.masks.counts["network.6.weight"] == 1
    assert sum(owner.masks.counts.values()) == sum(Uniform()(_shapes(owner), 0.95).values())


@pytest.mark.parametrize("distribution", [Uniform(), ERK(), Uniform(first_layer_dense=True)])
def test_the_final_counts_are_those_of_the_distribution_however_small_the_last_updates(distribution) -> None:
    # with ERK, the rounded budget of step 36 gives the convolution a weight less than the final one
    owner = GradualPruning(0.868, window=PruningWindow(1, 0.0, 1.0), distribution=distribution)
    fit(TinyModule(), [owner], max_steps=40)
    assert owner.masks.counts == distribution(_shapes(owner), 0.868)


def _shapes(owner: SparseTraining) -> dict[str, torch.Size]:
    return {name: mask.shape for name, mask in owner.masks.items()}


def test_a_schedule_may_start_in_the_middle_and_at_the_first_step() -> None:
    memory = Memory()
    owner = GradualPruning(0.8, schedule=LinearDecay(0.5, 1.0), window=PruningWindow(4, 0.0, 1.0))
    fit(TinyModule(), [owner], logger=memory, max_steps=9)
    assert memory.of("sparsity/actual") == pytest.approx({0: 0.4, 4: 0.6, 5: 0.6, 8: 0.8, 9: 0.8}, abs=1e-3)


def test_one_step_is_enough() -> None:
    owner = GradualPruning(0.8)
    fit(TinyModule(), [owner], fast_dev_run=True)
    assert owner.masks.sparsity == pytest.approx(0.8, abs=1e-3)


def test_several_optimizers_prune_their_own_weights_and_the_first_those_of_none() -> None:
    class Two(TwoOptimizers):
        def configure_optimizers(self):
            parts = (self.network[4].parameters(), self.network[6].parameters())  # the convolution is left out
            return [torch.optim.SGD(part, lr=0.05, momentum=0.9) for part in parts]

    for scope in ("layer", "global"):
        owner = GradualPruning(0.8, window=WHOLE, scope=scope)
        fit(Two(), [owner, Zeros(owner)], max_steps=40)
        counts, final = owner.masks.counts, Uniform()(_shapes(owner), 0.8)
        assert counts["network.6.weight"] == final["network.6.weight"]
        assert sum(counts.values()) == sum(final.values())


def test_a_first_optimizer_without_sparse_weights_leaves_none_unpruned() -> None:
    class Two(TwoOptimizers):
        def configure_optimizers(self):
            parts = (self.network[1].parameters(), self.network[6].parameters())  # a norm, the last layer
            return [torch.optim.SGD(part, lr=0.05, momentum=0.9) for part in parts]

    owner = GradualPruning(0.8, window=WHOLE)
    fit(Two(), [owner], max_steps=40)
    assert owner.masks.counts == Uniform()(_shapes(owner), 0.8)


def test_a_run_cut_short_says_how_sparse_it_became() -> None:
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, *_: object) -> None:
            trainer.should_stop = trainer.global_step == 12

    owner = GradualPruning(0.8, window=WHOLE)
    with pytest.warns(
        UserWarning, match=r"ended at step 12 with sparsity 0\.\d+ instead of 0\.79\d\d, before PruningWindow"
    ):
        fit(TinyModule(), [owner, Stop()], max_steps=24)
    assert owner.masks.sparsity < 0.79


def test_a_weight_without_a_gradient_is_pruned_too_when_its_exact_name_is_included() -> None:
    class Idle(TinyModule):
        def __init__(self) -> None:
            super().__init__()
            self.idle = torch.nn.Linear(10, 10)

    owner = GradualPruning(0.8, window=WHOLE, score=SaliencyScore(), include=["*", "idle.weight"])
    fit(Idle(), [owner])
    assert owner.masks.counts["idle.weight"] == 20
    unnamed = GradualPruning(0.8, window=WHOLE, score=SaliencyScore())
    with pytest.warns(UserWarning, match=r"the loss does not depend on idle\.weight, which GradualPruning selected"):
        fit(Idle(), [unnamed])
    assert "idle.weight" not in unnamed.masks


# --- going on -------------------------------------------------------------------------------------


def saved(path: Path, owner: SparseTraining, steps: int = 12) -> Path:
    fit(TinyModule(), [owner], max_steps=steps).save_checkpoint(path / "last.ckpt")
    return path / "last.ckpt"


def resume(path: Path, owner: SparseTraining) -> SparseTraining:
    trainer([owner], max_steps=24).fit(TinyModule(), loader(), ckpt_path=path)
    return owner


def test_a_pruned_run_may_go_on_with_its_masks_fixed(tmp_path: Path) -> None:
    path = saved(tmp_path, GradualPruning(0.8, window=WHOLE))
    static = resume(path, SparseTraining(0.8, distribution=Uniform()))
    assert static.masks.digest() == read_masks(path).digest()


def test_a_sparse_run_may_be_pruned_on(tmp_path: Path) -> None:
    path = saved(tmp_path, RigL(0.5, window=UpdateWindow(4, stop=1.0)))
    before = read_masks(path)
    pruned = resume(path, GradualPruning(0.8, window=PruningWindow(2, 0.6, 1.0)))
    assert pruned.masks.counts == Uniform()(_shapes(pruned), 0.8)
    assert not any((mask & ~before[name]).any() for name, mask in pruned.masks.items())
    other = GradualPruning(0.9, window=WHOLE, masks_from=path)
    fit(TinyModule(), [other])
    assert other.masks.counts == Uniform()(_shapes(other), 0.9)
    assert not any((mask & ~before[name]).any() for name, mask in other.masks.items())


def test_a_second_fit_stays_as_sparse_as_the_first() -> None:
    owner, module = GradualPruning(0.8, window=WHOLE), TinyModule()
    fit(module, [owner])
    masks = owner.masks
    fit(module, [owner], max_steps=6)
    assert owner.masks.digest() == masks.digest()


def test_resuming_towards_another_sparsity_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, GradualPruning(0.8, window=WHOLE))
    with pytest.raises(ValueError, match="prunes 'network.0.weight' to 15 weights, but GradualPruning.sparsity=0.9"):
        resume(path, GradualPruning(0.9, window=WHOLE))
    with pytest.raises(ValueError, match="prunes 'network.0.weight' to 15 weights.*distribution=ERK"):
        resume(path, GradualPruning(0.8, window=WHOLE, distribution=ERK()))


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [Constant(0.5), Cubic(0.0, 0.95), LinearDecay(1.5, 1.0), LinearDecay(-0.1, 1.0)])
def test_a_schedule_that_does_not_end_at_the_final_sparsity(schedule) -> None:
    with pytest.raises(ValueError, match=r"schedule goes from .* it is a share of the final sparsity"):
        GradualPruning(0.95, schedule=schedule)


def test_an_unknown_scope() -> None:
    with pytest.raises(ValueError, match="scope is 'network'; choose layer or global"):
        GradualPruning(scope="network")  # type: ignore[arg-type]


def test_a_run_shorter_than_the_window() -> None:
    with pytest.raises(ValueError, match="ends after the run of 24 steps.*lengthen the run"):
        fit(TinyModule(), [GradualPruning(window=PruningWindow(100, 3000, 7000))])


def test_a_fractional_window_without_an_end() -> None:
    with pytest.raises(ValueError, match="the Trainer has no end"):
        fit(TinyModule(), [GradualPruning()], max_steps=-1, max_epochs=-1, max_time="00:00:00:10")


def test_fits_in_which_nothing_moves_are_told_apart_from_fits_without_steps() -> None:
    class Early(pl.Callback):
        def on_train_batch_end(self, trainer, *_: object) -> None:
            trainer.should_stop = True

    owner = GradualPruning(0.8)
    with pytest.warns(UserWarning, match="ended at step 1 with sparsity 0.0000"):
        fit(TinyModule(), [owner, Early()])  # one step, before the window: dense, and no error
    assert owner.masks.sparsity == 0.0
