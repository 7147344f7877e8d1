"""run.json: what a run was and cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from fits import TinyModule
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from callbacks import RigL, TrainingFlops
from experiments.run import run_record
from experiments.run.run_record import RunRecord, read_record


class Data(pl.LightningDataModule):
    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.rand(64, 1, 8, 8), torch.arange(64) % 5), batch_size=8)

    test_dataloader = train_dataloader


class Scored(TinyModule):
    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test/acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())


def fit(folder: Path, steps: int, *more: pl.Callback, logger: Any = None, **arguments: Any) -> pl.Trainer:
    seconds = iter(range(0, 10_000, 30))
    trainer = pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        logger=CSVLogger(folder, name="mine") if logger is None else logger,
        callbacks=[RunRecord(lambda: float(next(seconds))), TrainingFlops(), RigL(0.5), *more],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Scored(), Data(), **arguments)
    return trainer


def test_a_run_leaves_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    trainer = fit(tmp_path, 6)
    path = tmp_path / "mine/version_0/run.json"
    record = read_record(path)
    assert (record["name"], record["study"], record["method"], record["seed"]) == ("mine", "Data/Sequential", "RigL", 7)
    assert [record[key] for key in ("status", "steps")] == ["finished", 6]
    assert record["minutes"] == 1.5  # a half each: after the start, at a save, at the end
    assert record["layers"]["network.4.weight"]["shape"] == [24, 288]
    active = sum(layer["active"] for layer in record["layers"].values())
    assert record["sparsity"] == pytest.approx(1 - active / (24 * 288 + 5 * 24 + 72), abs=1e-9)
    assert record["flops"]["forward"] < record["flops"]["dense_forward"]
    assert record["flops"]["training"] < record["flops"]["dense_training"]
    assert record["bytes"] < record["dense_bytes"]
    assert record["commit"]
    assert record["scores"] == {}
    trainer.test(trainer.lightning_module, Data(), verbose=False)
    assert read_record(path)["scores"]["test/acc"] == pytest.approx(float(trainer.callback_metrics["test/acc"]))
    assert not list(path.parent.glob("*.part"))


@pytest.mark.filterwarnings("ignore:The dirpath has changed", "ignore:You're resuming from a checkpoint that ended")
def test_a_run_that_goes_on_names_the_one_before_and_adds_its_minutes(tmp_path: Path) -> None:
    fit(tmp_path, 8, ModelCheckpoint(every_n_train_steps=4, save_top_k=-1))
    [checkpoint] = tmp_path.glob("mine/version_0/checkpoints/*step=4.ckpt")
    first = read_record(tmp_path / "mine/version_0/run.json")
    saved = ModelCheckpoint(tmp_path / "more", every_n_train_steps=4, save_top_k=-1)
    fit(tmp_path, 8, saved, ckpt_path=checkpoint, weights_only=True)
    second = read_record(tmp_path / "mine/version_1/run.json")
    assert second["continues"] == "../version_0/run.json"
    assert second["first_step"] == 4
    assert second["minutes"] > first["minutes"] > 0


class Failing(pl.Callback):
    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == 3:
            raise RuntimeError("the disk is on fire")


def test_a_run_that_fails_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="on fire"):
        fit(tmp_path, 6, Failing())
    record = read_record(tmp_path / "mine/version_0/run.json")
    assert (record["status"], record["steps"]) == ("stopped", 3)


def test_without_a_csv_logger_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit(tmp_path, 2, logger=False)
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize("text", ["", "{", "[]", '"run"', '{"name": "a"}', json.dumps({"name": 1, "minutes": 2})])
def test_what_is_no_record_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run\.json' is not the record of a run"):
        read_record(tmp_path / "run.json")


def test_a_record_that_cannot_be_written_ends_no_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_record, "write_whole_text", full)
    with pytest.warns(
        UserWarning, match=r"run.json' could not be written \(.*No space left.*\); the fit goes on"
    ) as told:
        assert fit(tmp_path, 6).global_step == 6
    assert len([warning for warning in told if "could not be written" in str(warning.message)]) == 1


@pytest.mark.filterwarnings("ignore:The dirpath has changed", "ignore:You're resuming from a checkpoint that ended")
def test_a_damaged_record_of_an_earlier_run_ends_no_fit(tmp_path: Path) -> None:
    fit(tmp_path, 4, ModelCheckpoint(every_n_train_steps=4, save_top_k=-1))
    [checkpoint] = tmp_path.glob("mine/version_0/checkpoints/*step=4*.ckpt")
    (tmp_path / "mine/version_0/run.json").write_text("{half")
    saved = ModelCheckpoint(tmp_path / "more", every_n_train_steps=4, save_top_k=-1)
    with pytest.warns(
        UserWarning, match="minutes of the run that this one continues are not known: .*run.json' is not"
    ):
        fit(tmp_path, 8, saved, ckpt_path=checkpoint, weights_only=True)
    assert read_record(tmp_path / "mine/version_1/run.json")["status"] == "finished"
