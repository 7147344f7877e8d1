"""I7: what cannot work is refused before the first step, naming the thing and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from fits import TinyModule, fit, loader, trainer
from methods import METHODS, Method
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy
from torch import nn

from callbacks import SET, RigL, SparseTraining, read_masks
from callbacks.compatibility import check_strategy
from callbacks.sparsity import ERK, Constant, Masks, UpdateWindow

SIZED = [method for method in METHODS if method.sized]


@pytest.mark.parametrize("method", SIZED, ids=str)
@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 90, float("nan")])
def test_sparsity_outside_its_range(method: Method, sparsity: float) -> None:
    with pytest.raises(ValueError, match=r"sparsity is .*\[0, 1\)"):
        method.build(sparsity)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_pattern_that_matches_nothing(method: Method) -> None:
    with pytest.raises(ValueError, match="include pattern 'fc9.*' matches no parameter"):
        fit(TinyModule(), [method.build(0.9, include=["fc9.*"])])


@pytest.mark.parametrize("method", SIZED, ids=str)
def test_a_layer_left_empty(method: Method) -> None:
    with pytest.raises(ValueError, match=r"leaves 'network.0.weight' \(8, 1, 3, 3\) without a weight"):
        fit(TinyModule(), [method.build(0.9999, distribution=ERK())])


def test_two_owners() -> None:
    with pytest.raises(ValueError, match="SET and RigL would both own the masks"):
        fit(TinyModule(), [SET(), RigL()])


@pytest.mark.parametrize("strategy", [FSDPStrategy, ModelParallelStrategy])
def test_strategies_that_split_weights(strategy: type) -> None:
    stub = SimpleNamespace(strategy=strategy.__new__(strategy))
    with pytest.raises(ValueError, match=f"RigL does not support {strategy.__name__}.*Use Trainer"):
        check_strategy(stub, "RigL")  # type: ignore[arg-type]


def test_deepspeed_is_refused_although_it_derives_from_ddp() -> None:
    from pytorch_lightning.strategies import DeepSpeedStrategy

    assert issubclass(DeepSpeedStrategy, DDPStrategy)
    stub = SimpleNamespace(strategy=DeepSpeedStrategy.__new__(DeepSpeedStrategy))
    with pytest.raises(ValueError, match="does not support DeepSpeedStrategy"):
        check_strategy(stub, "SET")  # type: ignore[arg-type]


def test_lbfgs() -> None:
    class Module(TinyModule):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters())

    with pytest.raises(ValueError, match="SparseTraining does not support LBFGS"):
        fit(Module(), [SparseTraining()])


def test_a_drop_fraction_above_one() -> None:
    with pytest.raises(ValueError, match="drop_fraction starts at 1.5"):
        RigL(drop_fraction=Constant(1.5))


def test_a_fractional_window_without_an_end() -> None:
    with pytest.raises(ValueError, match="the Trainer has no end"):
        fit(TinyModule(), [RigL()], max_steps=-1, max_epochs=-1, max_time="00:00:00:10")


def test_a_window_in_steps_needs_no_end() -> None:
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, *_: object) -> None:
            trainer.should_stop = trainer.global_step >= 10

    rigl = RigL(window=UpdateWindow(4, stop=1000))
    fit(TinyModule(), [rigl, Stop()], max_steps=-1, max_epochs=-1, max_time="00:00:01:00")
    assert rigl.masks.sparsity == pytest.approx(0.9, abs=1e-3)


# --- resuming -----------------------------------------------------------------------------------


def checkpoint(path: Path, callbacks: list[pl.Callback], module: pl.LightningModule | None = None) -> str:
    fitted = fit(module or TinyModule(), callbacks, max_steps=6)
    fitted.save_checkpoint(path / "last.ckpt")
    return str(path / "last.ckpt")


def resume(path: str, callbacks: list[pl.Callback], module: pl.LightningModule | None = None) -> None:
    trainer(callbacks, max_steps=12).fit(module or TinyModule(), loader(), ckpt_path=path)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_resuming_from_a_dense_checkpoint(tmp_path: Path, method: Method) -> None:
    path = checkpoint(tmp_path, [])
    with pytest.raises(ValueError, match="last.ckpt' holds no masks.*initialization=KeepValues"):
        resume(path, [method.build()])


def test_resuming_from_a_checkpoint_of_weights_only(tmp_path: Path) -> None:
    fitted = fit(TinyModule(), [RigL()], max_steps=6)
    fitted.save_checkpoint(tmp_path / "weights.ckpt", weights_only=True)
    with pytest.raises(ValueError, match="holds no masks"):
        resume(str(tmp_path / "weights.ckpt"), [RigL()])


def test_resuming_with_another_sparsity(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, [RigL(0.8)])
    with pytest.raises(ValueError, match=r"keep \d+ weights in 'network.0.weight', but RigL.sparsity=0.9"):
        resume(path, [RigL(0.9)])


def test_resuming_with_another_selection(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, [RigL(0.8)])
    with pytest.raises(ValueError, match="do not fit .*'network.6.weight': .5, 24. there, not selected here"):
        resume(path, [RigL(0.8, exclude=["network.6.*"])])


def test_resuming_with_masks_of_another_shape(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, [RigL(0.8)])
    state = torch.load(path, weights_only=True)
    entry = state["callbacks"]["SparseTraining"]["masks"]["network.6.weight"]
    entry["shape"] = [24, 5]
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"'network.6.weight': \(24, 5\) there, \(5, 24\) here"):
        resume(path, [RigL(0.8)])


def test_a_rigl_run_may_go_on_as_static_and_back(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, [RigL(0.8, window=UpdateWindow(2, stop=1.0))])
    static = SparseTraining(0.8)
    resume(path, [static])
    moved = read_masks(path)
    assert static.masks.digest() == moved.digest()
    path = checkpoint(tmp_path, [SparseTraining(0.8)])
    rigl = RigL(0.8, window=UpdateWindow(4, stop=1.0))
    resume(path, [rigl])
    assert rigl.masks.digest() != read_masks(path).digest()


def test_resuming_with_another_number_of_optimizers(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, [RigL(0.8)])
    state = torch.load(path, weights_only=True)
    state["callbacks"]["SparseTraining"]["steps"] = [6, 6]
    torch.save(state, path)
    with pytest.raises(ValueError, match="steps of 2 optimizers, but TinyModule.configure_optimizers made 1"):
        resume(path, [RigL(0.8)])


# --- masks_from ---------------------------------------------------------------------------------


def test_masks_from_a_checkpoint_start_a_new_run(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, [RigL(0.7, seed=5, window=UpdateWindow(2, stop=1.0))])
    static = SparseTraining(masks_from=path)
    fit(TinyModule(), [static], max_steps=3)
    assert static.masks.digest() == read_masks(path).digest()
    assert static.masks.sparsity == pytest.approx(0.7, abs=1e-3)


def test_masks_from_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*none.ckpt"):
        fit(TinyModule(), [SparseTraining(masks_from=tmp_path / "none.ckpt")])


def test_masks_from_a_file_that_is_not_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(ValueError, match=r"text.ckpt' cannot be read as a checkpoint"):
        fit(TinyModule(), [SparseTraining(masks_from=tmp_path / "text.ckpt")])


@pytest.mark.parametrize("masks", [{}, Masks({})])
def test_masks_from_nothing(masks: Mapping[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"masks_from is empty.*leave it out"):
        fit(TinyModule(), [SparseTraining(masks_from=masks)])


def test_masks_from_a_dense_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no masks: masks_from wants"):
        fit(TinyModule(), [SparseTraining(masks_from=checkpoint(tmp_path, []))])


def test_masks_from_a_truncated_checkpoint(tmp_path: Path) -> None:
    path = Path(checkpoint(tmp_path, [RigL()]))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        fit(TinyModule(), [SparseTraining(masks_from=path)])


def test_masks_from_never_executes_what_is_in_the_file(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"callbacks": Bomb()}, tmp_path / "bomb.ckpt")
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        fit(TinyModule(), [SparseTraining(masks_from=tmp_path / "bomb.ckpt")])
    assert not (tmp_path / "executed").exists()


def test_masks_from_another_network(tmp_path: Path) -> None:
    class Other(TinyModule):
        def __init__(self) -> None:
            super().__init__()
            self.network[4] = nn.Linear(288, 25)
            self.network[6] = nn.Linear(25, 5)

    path = checkpoint(tmp_path, [RigL()])
    with pytest.raises(ValueError, match=r"masks_from .* do not fit .*\(24, 288\) there, \(25, 288\) here"):
        fit(Other(), [SparseTraining(masks_from=path)])


def test_resuming_from_a_newer_version(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, [RigL(0.8)])
    content = torch.load(path, weights_only=True)
    content["callbacks"]["SparseTraining"]["version"] = 3
    torch.save(content, path)
    with pytest.raises(ValueError, match="version 3, but version 2 is what can be read here: install the release"):
        resume(path, [RigL(0.8)])


def test_resuming_with_another_seed(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, [RigL(0.8, seed=1)])
    with pytest.raises(ValueError, match="masks have seed 1, but this run has seed 2: resume"):
        resume(path, [RigL(0.8, seed=2)])
