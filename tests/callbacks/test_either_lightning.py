"""Callbacks in the Trainer of the other Lightning, ``import lightning``, while pytorch_lightning is installed too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from fakes import write_mnist
from ranks import launch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from callbacks import (
    GradientFlowMonitor,
    GradualPruning,
    LotteryTicket,
    RigL,
    SparseTraining,
    TrainingFlops,
    mask_owner,
)
from callbacks.sparsity import UpdateWindow
from datamodules import MNISTDataModule
from lightning_modules import SparseClassifier

L = pytest.importorskip("lightning", reason="the other distribution of Lightning is not installed")
QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def module_of(library: Any) -> Any:
    class Module(library.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 2))

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=0.01)

    return Module()


def data() -> DataLoader[Any]:
    x = torch.randn(64, 20, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=8)


def fit(library: Any, *callbacks: Any, **more: Any) -> Any:
    arguments = {"max_epochs": 3, "enable_checkpointing": False, **QUIET, **more}
    trainer = library.Trainer(callbacks=list(callbacks), **arguments)
    trainer.fit(module_of(library), data())
    return trainer


def test_a_fit_is_the_same_in_either_trainer() -> None:
    ends = []
    for library in pl, L:
        owner, flops = RigL(0.8, window=UpdateWindow(5)), TrainingFlops()
        average = library.pytorch.callbacks if library is L else pl.callbacks
        swa = average.StochasticWeightAveraging(1e-3, swa_epoch_start=2)
        trainer = fit(library, owner, GradientFlowMonitor(every_n_steps=5), flops, swa)
        assert mask_owner(trainer) is owner
        ends.append((trainer.model.state_dict(), owner.masks.digest(), owner.explored(), flops.total))
    (weights, *facts), (others, *other_facts) = ends
    assert facts == other_facts
    assert all(torch.equal(weight, others[name]) for name, weight in weights.items())


FORKED = """
import sys
import warnings

warnings.simplefilter("ignore")
from callbacks import RigL
from callbacks.sparsity import UpdateWindow
from test_either_lightning import L, fit

owner = RigL(0.8, window=UpdateWindow(5))
trainer = fit(L, owner, strategy="ddp_fork", devices=1)
assert type(trainer.strategy.launcher).__module__.startswith("lightning.")
assert abs(owner.masks.sparsity - 0.8) < 0.01, owner.masks.sparsity
"""


def test_what_callbacks_learn_in_other_processes_comes_back(tmp_path: Path) -> None:
    """In a process of its own: one in which torch has computed has threads, without which its forks wait for ever."""
    script = tmp_path / "forked.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{FORKED}")
    done = launch(script, [])
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("strategy", ["deepspeed", "fsdp"])
def test_strategies_of_the_other_are_known(strategy: str) -> None:
    from callbacks.compatibility import check_strategy

    class Stub:
        pass

    kind = {"deepspeed": L.pytorch.strategies.DeepSpeedStrategy, "fsdp": L.pytorch.strategies.FSDPStrategy}[strategy]
    trainer: Any = Stub()
    trainer.strategy = kind.__new__(kind)
    with pytest.raises(ValueError, match=f"RigL does not support {kind.__name__}"):
        check_strategy(trainer, "RigL")


def test_finetuning_callbacks_of_the_other_are_known() -> None:
    class Finetuning(L.pytorch.callbacks.BaseFinetuning):  # type: ignore[misc, name-defined]
        def freeze_before_training(self, pl_module: Any) -> None:
            self.freeze(pl_module.net[0])

        def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
            pass

    with pytest.raises(ValueError, match="Finetuning"):
        fit(L, SparseTraining(0.5), Finetuning())


def test_a_module_or_data_module_of_ours_is_refused_by_name(tmp_path: Path) -> None:
    trainer = L.Trainer(max_epochs=1, enable_checkpointing=False, **QUIET)
    mnist = MNISTDataModule(write_mnist(tmp_path, train=16, test=16), verify=False)
    with pytest.raises(TypeError, match="SparseClassifier"):
        trainer.fit(SparseClassifier(nn.Flatten(), 784), data())
    for given in ({"train_dataloaders": mnist}, {"datamodule": mnist}):
        with pytest.raises((TypeError, RuntimeError), match="MNISTDataModule is a data module of pytorch_lightning"):
            trainer.fit(module_of(L), **given)


def test_a_lottery_refuses_a_trainer_of_the_other(tmp_path: Path) -> None:
    def make_trainer(callbacks: Any, folder: Path) -> Any:
        return L.Trainer(max_steps=3, callbacks=callbacks, **QUIET)

    lottery = LotteryTicket(tmp_path, GradualPruning(0.9))
    with pytest.raises(ValueError, match="make_trainer gave a lightning.pytorch Trainer.*of pytorch_lightning"):
        next(lottery.run(module_of(pl), data(), make_trainer))
