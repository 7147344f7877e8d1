"""I4: two processes with gloo on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from methods import METHODS, Method

SCRIPT = Path(__file__).parents[1] / "ddp_fit.py"
ROOT = SCRIPT.parents[1]


def launch(ranks: int, out: Path, scenario: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{SCRIPT.parent}", "OMP_NUM_THREADS": "1"}
    environment.pop("RANK", None)
    python = [sys.executable]
    if ranks > 1:
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    return subprocess.run(
        [*python, str(SCRIPT), str(out), scenario],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("ddp")
    for ranks in (1, 2):
        done = launch(ranks, out, "methods")
        assert done.returncode == 0, done.stderr[-3000:]
    return {file.stem: torch.load(file) for file in out.iterdir()}


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_masks_and_weights_are_equal_on_all_ranks(results: dict[str, Any], method: Method) -> None:
    zero, one = (results[f"world2-rank{rank}"][method.name] for rank in (0, 1))
    assert zero["digest"] == one["digest"]
    for name, weight in zero["weights"].items():
        assert torch.equal(weight, one["weights"][name])


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_two_ranks_equal_one_process_at_the_same_global_batch(results: dict[str, Any], method: Method) -> None:
    two, single = (results[key][method.name] for key in ("world2-rank0", "world1-rank0"))
    agreeing = sum(int((mask == single["masks"][name]).sum()) for name, mask in two["masks"].items())
    assert agreeing >= 0.999 * sum(mask.numel() for mask in two["masks"].values())
    for name, weight in two["weights"].items():
        torch.testing.assert_close(weight, single["weights"][name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("scenario", "values"), [("seeds", ("seed=0", "seed=1")), ("windows", ("every=2", "every=3"))], ids=str
)
def test_arguments_that_differ_between_ranks_are_an_error_at_the_start(
    tmp_path: Path, scenario: str, values: tuple[str, str]
) -> None:
    done = launch(2, tmp_path, scenario)
    assert done.returncode != 0
    assert "the ranks were given different arguments: rank 0 has " in done.stderr
    zero, one = done.stderr.split("rank 0 has ", 1)[1].split("rank 1 has ", 1)
    assert values[0] in zero
    assert values[1] in one


def test_masks_that_differ_between_ranks_are_an_error(tmp_path: Path) -> None:
    done = launch(2, tmp_path, "drift")
    assert done.returncode != 0
    assert "the masks differ between ranks at step" in done.stderr
    assert "rank 0:" in done.stderr
    assert "give every rank the same callback arguments" in done.stderr


def test_a_sparse_pose_estimator_trains_and_scores_alike_on_two_ranks(tmp_path: Path) -> None:
    for ranks in (1, 2):
        done = launch(ranks, tmp_path, "poses")
        assert done.returncode == 0, done.stderr[-3000:]
    single, zero, one = (
        torch.load(tmp_path / f"{name}.pt") for name in ("world1-rank0", "world2-rank0", "world2-rank1")
    )
    assert zero["digest"] == one["digest"]
    for name, weight in zero["weights"].items():
        assert torch.equal(weight, one["weights"][name])
    for key in ("val/loss", "val/pck@0.2"):
        assert zero["scores"][key] == one["scores"][key] == pytest.approx(single["scores"][key], rel=1e-5), key
