"""python -m experiments lottery: every YAML with a lottery runs, goes on after a kill and ends with its table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from fakes import write_mnist

from callbacks.lottery.stage import LotteryStage
from experiments.lottery import main

ROOT = Path(__file__).parents[2]
CONFIGS = [p for p in sorted((ROOT / "experiments" / "configs").rglob("*.yaml")) if "\nlottery:" in p.read_text()]


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("mnist"), train=96, test=64)


SHORT = ["--trainer.max_steps=12", "--trainer.log_every_n_steps=1", "--data.init_args.batch_size=16"]


def run(config: Path, mnist: Path, folder: str, *more: str):
    lottery = [f"--lottery.folder={folder}", "--lottery.save_every=5", "--lottery.pruning.init_args.window.every=2"]
    data = [f"--data.init_args.root={mnist}", "--data.init_args.verify=false"]
    return main([f"--config={config}", *lottery, *SHORT, *data, *more])


class KilledError(Exception):
    """Stands for a crash."""


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_lottery_runs_and_goes_on(
    config: Path, mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    whole = run(config, mnist, "whole")
    table = capsys.readouterr().out

    keep = LotteryStage.on_train_batch_end

    def crash(self: LotteryStage, trainer: pl.Trainer, *arguments: object) -> None:
        keep(self, trainer, *arguments)
        if self.folder.name == "run-1" and trainer.global_step == 7:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(LotteryStage, "on_train_batch_end", crash)
        with pytest.raises(KilledError):
            run(config, mnist, "parts")
    parts = run(config, mnist, "parts")
    again = capsys.readouterr().out
    assert [scores for _, scores in parts] == [scores for _, scores in whole]
    for (a, _), (b, _) in zip(whole, parts, strict=True):
        assert a.masks.digest() == b.masks.digest()
        for one, other in zip(a.trained, b.trained, strict=True):
            first, second = (torch.load(path, weights_only=True)["state_dict"] for path in (one, other))
            assert all(torch.equal(first[name], second[name]) for name in first)
    assert table[table.index("Lottery tickets") :] == again[again.index("Lottery tickets") :]
    for word in ("retraining", "sparsity", "test/acc", "weights", "0.9500"):
        assert word in table
    stages = ["pretrain", *(f"level-1/{weights}/run-{run}" for weights in ("weights", "reinit") for run in (0, 1))]
    assert re.findall(r"stage (\d) of 5: (\S+); (\d) are done", table) == [
        (str(number + 1), name, str(number)) for number, name in enumerate(stages)
    ]
    assert len(re.findall(r"about \d+\.\d min are left", table)) == 4
    assert "stage 1" not in again[again.index("stage 3") :]
    fits = {str(path.parents[1].relative_to(tmp_path)) for path in tmp_path.glob("runs/**/metrics.csv")}
    assert {f"runs/{config.stem}/pretrain", f"runs/{config.stem}/level-1/weights/run-1"} <= fits


def test_other_settings_in_the_same_folder_are_refused(
    mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(CONFIGS[0], mnist, "folder", "--lottery.runs=1")
    with pytest.raises(ValueError, match="folder/config.yaml' is of a lottery with other settings.*max_steps: 13"):
        run(CONFIGS[0], mnist, "folder", "--lottery.runs=1", "--trainer.max_steps=13")
    with pytest.raises(ValueError, match="end.ckpt' is of pretrain of a lottery with GradualPruning"):
        run(CONFIGS[0], mnist, "folder", "--lottery.runs=1", "--lottery.pruning.init_args.sparsity=0.9")


def test_iterative_pruning_from_the_command_line(mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    levels = '--lottery.pruning={"class_path": "callbacks.IterativePruning", "init_args": {"share": 0.5, "levels": 2}}'
    options = '--lottery.retraining=[{"class_path": "callbacks.FineTuning", "init_args": {"learning_rate": 0.01}}]'
    data = [f"--data.init_args.root={mnist}", "--data.init_args.verify=false"]
    found = main([f"--config={CONFIGS[0]}", levels, options, *SHORT, *data, "--lottery.runs=1"])
    assert [(t.level, t.retraining, round(t.sparsity, 3)) for t, _ in found] == [
        (1, "fine-tune-0.01", 0.5),
        (2, "fine-tune-0.01", 0.75),
    ]
