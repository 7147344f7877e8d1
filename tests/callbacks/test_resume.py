"""I5: to stop and resume equals not to stop, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from fakes import write_mnist
from fits import OPTIMIZERS, TinyModule, loader, trainer
from logs import Memory
from methods import METHODS, MOVING, Method
from pytorch_lightning.callbacks import ModelCheckpoint

from callbacks import GradientFlowMonitor, MaskOwner, SparseTraining
from datamodules import MNISTDataModule
from lightning_modules import SparseClassifier
from lightning_modules.networks import LeNet300100

STEPS = 19  # of 4 batches an epoch


class Run:
    """One fit of a small perceptron on fake MNIST: what it logged and where it ended."""

    def __init__(
        self,
        root: Path,
        method: Method,
        optimizer: str,
        stop: int,
        *,
        save: Path | None = None,
        ckpt: Path | None = None,
    ) -> None:
        pl.seed_everything(1 if ckpt is None else 2, verbose=False)  # a resumed run starts from other weights
        self.module = SparseClassifier(
            LeNet300100((12, 8)),
            num_classes=10,
            optimizer=OPTIMIZERS[optimizer],
            scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS),
        )
        self.owner = method.build(0.6, seed=4)
        self.memory = Memory()
        monitor = GradientFlowMonitor(every_n_steps=3, per_layer=True, probe_batch=8)
        self.trainer = trainer(
            [monitor, self.owner, Stop(stop, save)],
            logger=self.memory,
            max_steps=STEPS,
            log_every_n_steps=1,
            limit_val_batches=0,
        )
        self.trainer.fit(self.module, MNISTDataModule(root, verify=False, batch_size=16, val_size=0), ckpt_path=ckpt)

    def state(self) -> dict[str, Any]:
        checkpoint = self.trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        return {key: checkpoint[key] for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step")} | {
            "sparse": checkpoint["callbacks"]["SparseTraining"],
        }


class Stop(pl.Callback):
    """Saves a checkpoint after a number of optimizer steps and ends the fit, which believes it is longer."""

    def __init__(self, step: int, path: Path | None = None) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_: object) -> None:
        if trainer.global_step >= self.step:
            trainer.should_stop = True
            if self.path is not None:
                trainer.save_checkpoint(self.path)


def assert_equal(a: Any, b: Any, where: str = "state") -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mnist")
    write_mnist(root, train=64, test=32)
    return root


def resumed_equals_uninterrupted(root: Path, path: Path, method: Method, optimizer: str, stop: int) -> None:
    whole = Run(root, method, optimizer, STEPS)
    part = Run(root, method, optimizer, stop, save=path / "part.ckpt")
    assert part.trainer.global_step == stop
    torch.load(path / "part.ckpt", weights_only=True)  # tensors and plain values only
    rest = Run(root, method, optimizer, STEPS, ckpt=path / "part.ckpt")
    assert_equal(rest.state(), whole.state())
    logged = {step: row for step, row in whole.memory.rows.items() if step >= stop}
    assert_equal(rest.memory.rows, logged, "logged")
    assert list(logged) == list(range(stop, STEPS + 1))
    assert "train/loss" in logged[STEPS - 1]


@pytest.mark.filterwarnings("ignore:the run ended at step")  # the stopped part of a pruning run is denser, and says so
@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("stop", [6, 10, 12])  # mid-epoch between updates, two steps on, at an update and epoch end
def test_stop_and_resume(mnist: Path, tmp_path: Path, method: Method, stop: int) -> None:
    resumed_equals_uninterrupted(mnist, tmp_path, method, "sgd-momentum", stop)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS)[1:])
def test_stop_and_resume_with_other_optimizers(mnist: Path, tmp_path: Path, optimizer: str) -> None:
    resumed_equals_uninterrupted(mnist, tmp_path, MOVING[0], optimizer, 10)


@pytest.mark.filterwarnings("ignore:the run ended at step")
@pytest.mark.parametrize("method", MOVING, ids=str)
def test_an_update_put_off_is_not_lost_on_resume(tmp_path: Path, method: Method) -> None:
    class Spoil(TinyModule):
        def on_after_backward(self) -> None:
            if self.global_step in (4, 5):
                self.network[4].weight.grad[0, 0] = float("nan")

        def on_before_optimizer_step(self, optimizer) -> None:
            if self.global_step in (4, 5):
                self.zero_grad()

    def run(stop: int, *, save: Path | None = None, ckpt: Path | None = None) -> MaskOwner:
        owner = method.build(0.8)
        trainer([owner, Stop(stop, save)], max_steps=12).fit(Spoil(), loader(samples=16), ckpt_path=ckpt)
        return owner

    whole = run(7)
    run(5, save=tmp_path / "part.ckpt")
    rest = run(7, ckpt=tmp_path / "part.ckpt")
    assert rest.masks.digest() == whole.masks.digest()
    assert rest.masks.digest() != method.build(0.8).masks.digest()


def test_checkpoints_of_model_checkpoint_resume_by_last(mnist: Path, tmp_path: Path) -> None:
    def fit(path: Path, stop: int, ckpt: str | None = None) -> SparseTraining:
        owner = MOVING[0].build(0.6)
        pl.seed_everything(0, verbose=False)
        module = SparseClassifier(LeNet300100((12, 8)), num_classes=10)
        keep = ModelCheckpoint(path, every_n_train_steps=5, save_top_k=-1, save_last=True)
        fitted = trainer([keep, owner, Stop(stop)], max_steps=STEPS, enable_checkpointing=True, limit_val_batches=0)
        fitted.fit(module, MNISTDataModule(mnist, verify=False, batch_size=16, val_size=0), ckpt_path=ckpt)
        return owner

    whole = fit(tmp_path / "whole", STEPS)
    fit(tmp_path / "parts", 10)
    with pytest.warns(UserWarning, match="exists and is not empty"):
        rest = fit(tmp_path / "parts", STEPS, "last")
    assert rest.masks.digest() == whole.masks.digest()


def test_a_second_fit_of_the_same_module_goes_on_with_its_masks() -> None:
    owner = MOVING[0].build(0.8)
    module = TinyModule()
    trainer([owner], max_steps=10).fit(module, loader())
    masks = owner.masks
    trainer([owner], max_steps=3).fit(module, loader())
    assert owner.masks.digest() == masks.digest()
    other = TinyModule()
    trainer([owner], max_steps=3).fit(other, loader())
    assert owner.masks.digest() != masks.digest(), "another module starts anew"


def test_the_weights_of_a_checkpoint_load_into_plain_torch(tmp_path: Path) -> None:
    owner = SparseTraining(0.8)
    fitted = trainer([owner], max_steps=3)
    fitted.fit(module := TinyModule(), loader())
    fitted.save_checkpoint(tmp_path / "sparse.ckpt")
    plain = TinyModule()
    plain.load_state_dict(torch.load(tmp_path / "sparse.ckpt", weights_only=True)["state_dict"])
    zeros = sum(int((plain.get_parameter(name) == 0).sum()) for name in owner.masks)
    assert zeros == owner.masks.size - sum(owner.masks.counts.values())
    assert [name for name, _ in plain.named_parameters()] == [name for name, _ in module.named_parameters()]
