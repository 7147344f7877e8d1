"""Lightning's averages of weights are as sparse as the weights, and forget what was dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from fits import TinyModule, fit, loader, trainer
from methods import METHODS, Method
from pytorch_lightning.callbacks import (
    EMAWeightAveraging,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)

from callbacks import GradualPruning, MaskObserver, RigL, SparseTraining
from callbacks.checkpoint import read_masks
from callbacks.sparsity import PruningWindow, UpdateWindow
from callbacks.weight_averages import averages_of

AVERAGES: dict[str, Callable[[], pl.Callback]] = {
    "mean": WeightAveraging,
    "ema": lambda: EMAWeightAveraging(decay=0.8, update_every_n_steps=3, update_starting_at_step=5),
    "swa": lambda: StochasticWeightAveraging(swa_lrs=0.02, swa_epoch_start=2),
}


class Watch(MaskObserver):
    """Checks after every batch and in every validation that weights outside the masks are 0 in all copies."""

    def __init__(self, owner: SparseTraining) -> None:
        self.owner, self.validated, self.grown = owner, 0, 0

    def zeros(self, *modules: torch.nn.Module) -> None:
        for module in modules:
            for name, mask in self.owner.masks.items():
                assert (module.get_parameter(name)[~mask] == 0).all()

    def on_before_mask_update(self, trainer, pl_module, masks) -> None:
        self.before = dict(masks)

    def on_after_mask_update(self, trainer, pl_module, masks) -> None:
        for average in averages_of(trainer.callbacks):
            for name, mask in masks.items():
                grown = mask & ~self.before[name]
                self.grown += int(grown.sum())
                assert (average.get_parameter(name)[grown] == 0).all(), "the average of a grown weight starts at 0"

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.zeros(pl_module, *averages_of(trainer.callbacks))

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0) -> None:
        self.validated += not trainer.sanity_checking
        self.zeros(pl_module)


class Validated(TinyModule):
    def validation_step(self, batch, batch_idx) -> None:
        self.log("val/loss", torch.nn.functional.cross_entropy(self(batch[0]), batch[1]))


def averaged(owner, average, tmp_path: Path, **options):
    saved = ModelCheckpoint(dirpath=tmp_path, save_last=True, every_n_train_steps=5)
    module, watch = Validated(), Watch(owner)
    fitted = trainer(
        [average, watch, owner, saved],
        **{"max_epochs": 4, "max_steps": -1, "enable_checkpointing": True, **options},
    )
    fitted.fit(module, loader(), loader(32))
    return fitted, module, watch


DIFFERENT = [method for method in METHODS if method.name in ("rigl", "srigl", "groups", "top-kast", "granet", "gmp")]


@pytest.mark.parametrize(
    ("average", "method"),
    [("ema", method) for method in METHODS] + [(name, method) for name in ("mean", "swa") for method in DIFFERENT],
    ids=str,
)
def test_averages_are_sparse_with_every_method(average: str, method: Method, tmp_path: Path) -> None:
    owner = method.build(0.8)
    fitted, module, watch = averaged(owner, AVERAGES[average](), tmp_path)
    # in SWA's last epoch, which is for the batch norms, Lightning makes one step with gradients that are left
    assert fitted.global_step == 24 + (average == "swa")
    assert watch.validated
    assert (watch.grown > 0) == (method.moves and (not method.prunes or method.regrows))
    watch.zeros(module)  # which holds the average now
    assert fitted.callback_metrics["sparsity/actual"] == fitted.callback_metrics["sparsity/target"]
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    for name, mask in read_masks(tmp_path / "last.ckpt").items():
        assert (saved[name][~mask] == 0).all(), "the checkpoint is sparse"


def test_the_average_is_that_of_the_weights_since_they_were_grown(tmp_path: Path) -> None:
    """Beside a mean kept by hand, in double precision, that is cleared at every update."""

    class ByHand(MaskObserver):
        def on_before_mask_update(self, trainer, pl_module, masks) -> None:
            self.before = dict(masks)

        def on_after_mask_update(self, trainer, pl_module, masks) -> None:
            for name, mask in masks.items():
                self.sums[name][mask != self.before[name]] = 0

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            weights = {name: pl_module.get_parameter(name).detach().double() for name in owner.masks}
            if trainer.global_step == 1:
                self.sums = {name: weight.clone() for name, weight in weights.items()}
            else:
                for name, weight in weights.items():
                    self.sums[name] = 0.8 * self.sums[name] + 0.2 * weight

    owner = RigL(0.8, window=UpdateWindow(4, stop=1.0))
    by_hand = ByHand()
    module = TinyModule()
    fit(module, [owner, by_hand, EMAWeightAveraging(decay=0.8)])
    for name, expected in by_hand.sums.items():
        torch.testing.assert_close(module.get_parameter(name).double(), expected, rtol=1e-4, atol=1e-6)
        assert (expected != 0).any()


@pytest.mark.parametrize("average", ["mean", "ema"])  # SWA ends when max_epochs say so, and cannot go on then
def test_a_resumed_average_is_that_of_the_whole_run(average: str, tmp_path: Path) -> None:
    class Save(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == 2:
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    def run(*more: pl.Callback, path: Path | None = None):
        owner, module = RigL(0.8, window=UpdateWindow(4, stop=24)), TinyModule()
        fitted = trainer([owner, AVERAGES[average](), *more], max_epochs=5, max_steps=-1)
        fitted.fit(module, loader(), ckpt_path=path, weights_only=True)
        return owner.masks.digest(), module.state_dict()

    digest, whole = run(Save())
    resumed_digest, resumed = run(path=tmp_path / "half.ckpt")
    assert resumed_digest == digest
    for name, weight in whole.items():
        assert torch.equal(weight, resumed[name]), name


def test_a_pruning_run_with_swa_reaches_its_sparsity(tmp_path: Path) -> None:
    """SWA adds an epoch without optimizer steps, in which nothing could be pruned."""
    owner = GradualPruning(0.8, window=PruningWindow(4, start=0.0, stop=1.0))
    averaged(owner, AVERAGES["swa"](), tmp_path)
    assert owner.masks.sparsity == pytest.approx(0.8, abs=1e-3)


def test_an_average_that_mixes_entries_is_reported() -> None:
    noisy = WeightAveraging(avg_fn=lambda average, *_: average + 0.1, use_buffers=False)
    with pytest.raises(RuntimeError, match=r"\d+ averages of weights outside the masks are not 0 at step 5"):
        fit(TinyModule(), [SparseTraining(0.8), noisy])
