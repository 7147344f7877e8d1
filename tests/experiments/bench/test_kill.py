"""The bench that kills fits: a few kills, and differences that it must see."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest
import torch

from callbacks.files.safe_files import read_checkpoint
from experiments.bench.kill import DEATHS, differences, kill, run_with_kills
from experiments.bench.mortal_fit import LOTTERY, NAMES, PLACES, CurveLogger


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("pytorch_lightning"), "level", logging.ERROR)


class Scripted(random.Random):
    """Draws the deaths it is told."""

    def __init__(self, deaths: tuple[str, ...]) -> None:
        super().__init__(0)
        self.deaths = list(deaths)

    def choice(self, options):
        return self.deaths.pop(0) if options == DEATHS else super().choice(options)


def test_killed_in_every_place_a_fit_goes_on_to_the_same_end(tmp_path: Path) -> None:
    run_with_kills(tmp_path / "whole", "RigL", 0, random.Random(0), 0.0)
    assert run_with_kills(tmp_path / "killed", "RigL", len(PLACES), Scripted(PLACES), 0.0) == list(PLACES)
    assert list(differences(tmp_path / "killed", tmp_path / "whole")) == []


def test_a_lottery_killed_between_and_in_its_fits_goes_on_to_the_same_end(tmp_path: Path) -> None:
    run_with_kills(tmp_path / "whole", LOTTERY, 0, random.Random(0), 0.0)
    assert len(list((tmp_path / "whole").rglob("end.ckpt"))) == 3
    deaths = run_with_kills(tmp_path / "killed", LOTTERY, 6, Scripted(2 * ("in a step", *PLACES[2:])), 0.0)
    assert len(deaths) == 6
    assert list(differences(tmp_path / "killed", tmp_path / "whole")) == []


def test_kills_from_outside(tmp_path: Path) -> None:
    runs = list(kill(2, tmp_path, seed=1))
    assert sum(len(run.deaths) for run in runs) >= 2
    assert all(run.method in NAMES and not run.differing for run in runs)


def test_differences_are_seen(tmp_path: Path) -> None:
    for name in "one", "other":
        run_with_kills(tmp_path / name, "SET", 0, random.Random(0), 0.0)
    assert list(differences(tmp_path / "one", tmp_path / "other")) == []
    checkpoint = read_checkpoint(tmp_path / "other/end.ckpt")
    weight = next(iter(checkpoint["state_dict"].values()))
    weight.view(-1)[0] = torch.nextafter(weight.view(-1)[0], torch.tensor(9.0))
    checkpoint["callbacks"]["SparseTraining"]["parts"][0]["deferrals"] += 1
    torch.save(checkpoint, tmp_path / "other/end.ckpt")
    CurveLogger(tmp_path / "other/curve.jsonl").log_metrics({"train/loss": 0.0}, 7)
    assert list(differences(tmp_path / "one", tmp_path / "other")) == ["state_dict", "masks", "curve"]


def test_half_a_line_of_a_curve_is_left_out(tmp_path: Path) -> None:
    curve = CurveLogger(tmp_path / "curve.jsonl")
    curve.log_metrics({"loss": 2.0}, 1)
    with curve.path.open("a") as file:
        file.write('{"step": 2, "lo')
    assert curve.read() == {(1, "loss"): 2.0}
