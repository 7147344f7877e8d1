"""The quickstart, the reproduction of results, the bench: small."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from fakes import write_mnist

from callbacks import RigL
from experiments import quickstart, reproduce
from experiments.bench import arms, overhead
from experiments.bench.mask_updates import share
from experiments.run.provenance import provenance
from experiments.run.rows import append_row
from lightning_modules.networks import LeNet5

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    write_mnist(tmp_path / "data" / "mnist", train=2000, test=64)
    return tmp_path / "data" / "mnist"


def test_quickstart_writes_its_table_and_picture(
    mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = quickstart.train
    monkeypatch.setattr(quickstart, "train", lambda arm: whole(arm, steps=120, verify=False, val_size=0))
    quickstart.main([])
    with (tmp_path / "runs/quickstart/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["arm", "init", "method", "sparsity", "seed", "steps", "grad_norm_at_100", "test_acc"]
    assert [row["arm"] for row in rows] == ["scratch", "scratch+", "rigl+"]
    assert all(row["sparsity"] == "0.9500" and row["steps"] == "120" for row in rows)
    assert float(rows[1]["grad_norm_at_100"]) > 0
    assert (tmp_path / "runs/quickstart/gradient_flow.png").stat().st_size > 10_000
    report = (tmp_path / "runs/quickstart/report.html").read_text()
    assert "3 runs in 3 settings on MNIST/LeNet5." in report
    for title in ("Accuracy against training cost", "Gradient flow on fixed samples", "Gradient flow by layer"):
        assert title in report
    assert "Sparse weights" in capsys.readouterr().out


def test_reproduce_appends_a_row_and_skips_what_is_done(
    mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "experiments/configs/mnist/lenet5_set.yaml").read_text()
    config = tmp_path / "short_set.yaml"
    config.write_text(text.replace("11719", "12").replace("val_size: 0", "val_size: 0, verify: false"))
    for _ in range(2):
        reproduce.main([str(config), "--seeds", "3", "4", "--results", str(tmp_path / "rows.csv")])
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["config"], row["seed"], row["steps"]) for row in rows] == [
        ("short_set", "3", "12"),
        ("short_set", "4", "12"),
    ]
    assert all(row["data"] == "MNIST" and row["commit"] and "torch" in row["versions"] for row in rows)
    assert "seed 4: already in" in capsys.readouterr().out


def test_rows_of_other_columns_are_not_mixed(tmp_path: Path) -> None:
    append_row(tmp_path / "rows.csv", {"a": 1, "c": 2}, ["a", "c"])
    with pytest.raises(ValueError, match=r"rows.csv' has the columns \['a', 'c'\], not \['a', 'b'\]"):
        append_row(tmp_path / "rows.csv", {"a": 1, "b": 2}, ["a", "b"])


def test_provenance_names_commit_versions_and_machine() -> None:
    assert set(provenance()) == {"commit", "versions", "machine"}


@pytest.mark.parametrize("name", arms.ARMS)
def test_the_bench_measures_every_arm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "PERIOD", 4)
    case = dataclasses.replace(overhead.CASES[0], batch_size=8, periods=3, turn=2)
    seconds, ratio = overhead.measure(case, arms.ARMS[name])
    assert seconds > 0
    assert ratio > 0


def test_a_bench_arm_works_in_its_own_turns_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "PERIOD", 4)
    steps: list[int] = []

    class Counting(pl.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
            steps.append(trainer.global_step)

    case = dataclasses.replace(overhead.CASES[0], batch_size=8, periods=2, turn=2)
    overhead.measure(case, lambda _: arms.Arm([Counting()]))
    first = overhead.WARM_UP
    on = [first + step for step in range(16) if step // 2 % 2 == 0]
    assert steps == [*range(first), *on]


@pytest.mark.parametrize("case", [*overhead.CASES, overhead.ON_GPU[0]], ids=lambda case: case.name)
def test_the_bench_times_mask_updates_and_reports(case: overhead.Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """One update in 100 steps with the arm, and a report of sparsity more than the two of the defaults' rates.

    An update reports too. By default that is one of the two; here it falls between them, since the callback counts the
    steps that it sees.
    """
    updates: list[int] = []
    reports: list[int] = []
    monkeypatch.setattr(RigL, "update_masks", lambda _, trainer, *__: updates.append(trainer.global_step))
    monkeypatch.setattr("callbacks.owner.report_sparsity", lambda trainer, *_: reports.append(trainer.global_step))
    small = dataclasses.replace(case, network=LeNet5, image=(1, 28, 28), batch_size=1, periods=2)
    overhead.measure(small, arms.rigl)
    assert updates == [190, 390]  # the 100th and the 200th step that the callback sees
    assert reports == [0, 100, 190, 200, 300, 390, 400, overhead.WARM_UP + 400]


def test_the_bench_times_updates_against_the_steps_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    changed = RigL.update_masks
    monkeypatch.setattr(RigL, "update_masks", lambda self, *a: (seen.append(a[0].global_step), changed(self, *a)))
    _, step = share.measure(LeNet5(), share.METHODS["RigL"](), torch.rand(2, 1, 28, 28), updates=2)
    assert seen == [2, 4]
    assert step > 0


def test_switching_pruning_off_and_on_gives_the_same_network() -> None:
    network = LeNet5()
    arm = arms.torch_prune(network)
    image = torch.rand(2, 1, 28, 28)
    sparse = network(image)
    arm.switch(False)
    assert "conv1.weight" in dict(network.named_parameters())
    assert not torch.equal(network(image), sparse), "without masks it is dense"
    arm.switch(True)
    assert torch.equal(network(image), sparse)


def test_masks_take_a_byte_a_weight() -> None:
    assert overhead.mask_bytes_per_weight() == 1.0
