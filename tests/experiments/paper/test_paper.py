"""The LeNet-5 study, short and on fake images; its page, from the committed rows."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import write_mnist
from rich.progress import Progress

from callbacks.files import safe_files
from callbacks.sparsity import Spectrum
from experiments.paper import published
from experiments.paper.arms import ARMS, PRUNED, Arm
from experiments.paper.figures import draw_figures
from experiments.paper.hessian_progress import HessianProgress
from experiments.paper.measure import spectra, write_tables
from experiments.paper.page import hessian_section, lenet5_page
from experiments.paper.study import run_study
from experiments.paper.train import Settings, read_product, train
from experiments.run.rows import read_rows, write_rows

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "experiments" / "results" / "lenet5"
ARM = {arm.name: arm for arm in ARMS}


pytestmark = pytest.mark.xdist_group("paper")  # the runs that the tests share are made once


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A study of twelve steps with two seeds of some arms; accuracies on noise are not failures here."""
    root = tmp_path_factory.mktemp("study")
    mnist = write_mnist(root / "mnist", train=640, test=300)
    settings = Settings(root / "runs", 12, (("root", mnist), ("verify", False), ("batch_size", 32)))
    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as a study's processes do
        patched.setattr("experiments.paper.train.FAILED_BELOW", 0.0)
        for name in ("pruned", "lottery-0", "scratch-unit", "scratch-same-init", "prune-restart", "small-dense"):
            for seed in range(2):
                train(ARM[name], seed, settings)
    return settings


def test_the_arms_are_those_of_the_paper() -> None:
    assert len(ARM) == len(ARMS)
    grid = {f"{method}-{init}" for method in ("scratch", "set", "rigl") for init in ("dense", "liu", "unit")}
    tickets = {f"lottery-{ticket}" for ticket in range(5)}
    others = {"dense", "pruned", "scratch-same-init", "prune-restart", "small-dense", "rigl-inverted-unit"}
    assert grid | tickets | others <= set(ARM)


def test_a_pruned_run_keeps_five_per_cent_of_every_layer(settings: Settings) -> None:
    run = read_product(settings.product("pruned", 0))
    assert [int(mask.sum()) for mask in run["masks"].values()] == [8, 120, 1536, 504, 42]
    for name, mask in run["masks"].items():
        assert not run["end"][name][~mask].any()
        assert run["start"][name].count_nonzero() == mask.numel()


def test_arms_start_from_the_weights_and_masks_they_name(settings: Settings) -> None:
    pruned = read_product(settings.product("pruned", 0))
    ticket, restart, scratch = (
        read_product(settings.product(arm, 0)) for arm in ("lottery-0", "prune-restart", "scratch-unit")
    )
    for name, mask in pruned["masks"].items():
        assert all(torch.equal(run["masks"][name], mask) for run in (ticket, restart, scratch))
        assert torch.equal(ticket["start"][name], pruned["start"][name] * mask)
        assert torch.equal(restart["start"][name], pruned["end"][name])
        assert not torch.isclose(scratch["start"][name][mask], pruned["start"][name][mask]).any()


def test_seeds_differ_in_what_they_should(settings: Settings) -> None:
    def starts(arm: str) -> list[torch.Tensor]:
        return [read_product(settings.product(arm, seed))["start"]["fc1.weight"] for seed in range(2)]

    for arm in ("lottery-0", "prune-restart"):
        assert torch.equal(*starts(arm))
    for arm in ("pruned", "scratch-unit", "small-dense"):
        assert not torch.equal(*starts(arm))
    ends = [read_product(settings.product("lottery-0", seed))["end"]["fc1.weight"] for seed in range(2)]
    assert not torch.equal(*ends), "another order of the data"


def test_one_initialization_means_one(settings: Settings) -> None:
    weights = [read_product(settings.product("scratch-same-init", seed))["start"] for seed in range(2)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_tables_page_and_figures_come_from_the_runs(settings: Settings, tmp_path: Path) -> None:
    write_rows(tmp_path / "runs.csv", [read_product(path)["row"] for path in settings.folder.glob("*/*/run.pt")])
    write_tables(settings, 2, tmp_path, images=100)
    tables = {path.stem: read_rows(path) for path in tmp_path.glob("*.csv")}
    assert set(tables) >= {"runs", "similarity", "gradient_norm", "distances", "map", "interpolation"}
    groups = {row["group"]: row for row in tables["similarity"]}
    assert set(groups) == {"lottery, ticket 0", "scratch", "scratch (diff. init)", "prune restart", "diff. pruned"}
    start = next(row for row in tables["distances"] if row["arm"] == "prune-restart")
    assert float(start["start"]) == 0 < float(start["end"])
    lines = [row for row in tables["interpolation"] if row["from"] == "end" and row["arm"] == "scratch-unit"]
    assert len(lines) == 2 * 29
    assert {row["images"] for row in lines} == {"100"}
    draw_figures(tmp_path)
    assert {path.stem for path in tmp_path.glob("*.png")} == {"gradient_norm", "interpolation", "map"}
    page = lenet5_page(tmp_path)
    for heading in ("Test accuracy", "Function space", "Gradient flow", "Loss between solutions", "Weight space"):
        assert f"## {heading}" in page
    assert "*paper: diff. pruned*" in page


def test_spectra_before_and_after_an_update_become_rows(settings: Settings, tmp_path: Path) -> None:
    spectrum = Spectrum.of(torch.tensor([-1.0, 0.0, 2.0, 3.0]))
    folder = tmp_path / "rigl-hessian" / "0" / "hessian"
    folder.mkdir(parents=True)
    for when in ("before_update", "after_update"):
        kept = {name: getattr(spectrum, name) for name in ("eigenvalues", "shares", "resolution")}
        torch.save(kept, folder / f"step00000100_{when}.pt")
    shutil.copytree(folder, folder.parents[1] / "aside_1_0" / "hessian")  # of a killed run, which is made again
    rows = list(spectra(Settings(tmp_path)))
    assert len(rows) == 2
    assert {(row["arm"], row["step"], row["when"], row["negative"]) for row in rows} == {
        ("rigl-hessian", 100, "before_update", 1),
        ("rigl-hessian", 100, "after_update", 1),
    }
    section = hessian_section([{key: str(value) for key, value in row.items()} for row in rows])
    assert "| RigL, sparsity-aware (+) | 100 | -1.0000 -> -1.0000 | 3.0000 -> 3.0000 | 1 -> 1 | 4 |" in section


def test_hessians_of_other_processes_have_bars() -> None:
    spawn = multiprocessing.get_context("spawn")
    hessians, bars = HessianProgress(spawn, ["a", "b"]), Progress(disable=True)
    worker = spawn.Process(target=hessians.note, args=("b", 30, 40))
    worker.start()
    worker.join()
    hessians.draw(bars)
    [task] = bars.tasks
    assert (task.description, task.completed, task.total, task.visible) == ("Hessian of b", 30, 40, True)
    hessians.note("b", 40, 40)
    hessians.draw(bars)
    assert not task.visible
    began, task.start_time = task.start_time, 0.0
    hessians.note("b", 2, 50)
    hessians.draw(bars)
    assert (task.completed, task.total, task.visible) == (2, 50, True)
    assert task.start_time is not None
    assert task.start_time >= began, "the time that is left is of this one"


def test_a_study_goes_on_where_it_stopped(settings: Settings, tmp_path: Path) -> None:
    results = tmp_path / "runs.csv"
    columns = "arm,data,seed,steps,test_acc,failed,minutes,commit,versions,machine"
    results.write_text(f"{columns}\nolder,MNIST,0,1,0.5,0,0.1,c,v,m\npruned,MNIST,0,1,0.5,0,0.1,c,v,m\n")
    product = settings.product("dense", 0)
    product.parent.mkdir(parents=True)
    part = (
        f"run.pt.{safe_files._MACHINE}-{2**22 + 1}-1.part"  # of a process that was killed: no process has this number
    )
    (product.parent / part).write_bytes(b"half a file")
    (product.parent / "metrics.csv").write_text("other,columns\n1,2\n")
    before = settings.product("pruned", 0).stat().st_mtime_ns
    run_study([PRUNED, ARM["dense"]], 1, settings, results, processes=1)
    rows = {row["arm"]: row for row in read_rows(results)}
    assert set(rows) == {"older", "pruned", "dense"}
    assert rows["pruned"]["steps"] == rows["dense"]["steps"] == "12"
    assert settings.product("pruned", 0).stat().st_mtime_ns == before, "a finished run is not run again"
    assert not list(product.parent.glob("*.part"))
    aside = product.parent.with_name("aside_1_0")
    assert (aside / "metrics.csv").read_text() == "other,columns\n1,2\n", "what a killed run left is kept"
    assert results.read_text().startswith(columns)
    assert read_product(product)["probabilities"].shape == (300, 10)


def test_a_damaged_product_is_named(settings: Settings, tmp_path: Path) -> None:
    copied = replace(settings, folder=tmp_path)
    product = copied.product("pruned", 0)
    product.parent.mkdir(parents=True)
    readers = [
        lambda: read_product(product),
        lambda: run_study([PRUNED], 1, copied, tmp_path / "runs.csv", processes=1),
        lambda: train(ARM["prune-restart"], 0, copied),
    ]
    for damaged in (b"no product", settings.product("pruned", 0).read_bytes()[:-1000]):
        product.write_bytes(damaged)
        for read in readers:
            with pytest.raises(ValueError, match=r"pruned/0/run\.pt' cannot be read"):
                read()
    torch.save({"start": {}}, product)
    for read in readers:
        with pytest.raises(ValueError, match=r"pruned/0/run\.pt' is not what a run of the study leaves"):
            read()


def test_runs_of_another_length_are_not_taken_for_finished(settings: Settings, tmp_path: Path) -> None:
    longer = Settings(settings.folder, 13, settings.data)
    with pytest.raises(ValueError, match=r"pruned/0/run.pt' is of a run of 12 steps, not of 13: give .* --folder"):
        run_study([PRUNED], 1, longer, tmp_path / "runs.csv", processes=1)
    assert not (tmp_path / "runs.csv").exists()


def test_a_failing_run_ends_the_study_at_once(tmp_path: Path) -> None:
    broken = Settings(tmp_path, 12, (("root", tmp_path / "nowhere"), ("download", False)))
    arms = [Arm(f"dense-{number}") for number in range(20)]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run_study(arms, 1, broken, tmp_path / "runs.csv", processes=1)
    assert len(list(tmp_path.glob("dense-*"))) < 10, "the others were not tried"


@pytest.mark.long  # half a minute, and a failing run that ends a study is tested above
def test_a_killed_study_leaves_no_process_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments", "paper", "lenet5", "--seeds", "1", "--processes", "1"]
    study = subprocess.Popen(
        [*command, "--folder", str(tmp_path / "runs"), "--results", str(tmp_path)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    log = tmp_path / "runs" / "pruned" / "0" / "metrics.csv"
    try:
        wait_for(log.exists)
    finally:
        study.kill()
        study.wait()
    lengths: list[int] = []
    wait_for(lambda: lengths.append(log.stat().st_size) or (len(lengths) > 20 and len(set(lengths[-20:])) == 1))
    assert not log.with_name("run.pt").exists(), "its worker went on"


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_the_published_curves_are_consistent() -> None:
    for line in published.INTERPOLATION.values():
        assert line[1] == 0.042, "all lines end at the pruned solution"


def test_the_page_is_generated_from_the_committed_rows() -> None:
    assert lenet5_page(COMMITTED) == COMMITTED.with_suffix(".md").read_text(), "run `make results`"
