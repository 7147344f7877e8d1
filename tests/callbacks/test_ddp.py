"""I4: two processes with gloo on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ddp_fit import STEPS
from methods import METHODS, Method
from ranks import PATHS, Done, free_port, launch, launch_in

SCRIPT = Path(__file__).parents[1] / "ddp_fit.py"
ROOT = SCRIPT.parents[1]


@pytest.fixture(scope="module")  # made once for the tests of xdist_group "ddp"
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("ddp")
    for ranks in (1, 2):
        done = launch(SCRIPT, [out, "methods"], ranks)
        assert done.returncode == 0, done.stderr[-3000:]
    return {file.stem: torch.load(file) for file in out.iterdir()}


@pytest.mark.xdist_group("ddp")
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_masks_and_weights_are_equal_on_all_ranks(results: dict[str, Any], method: Method) -> None:
    zero, one = (results[f"world2-rank{rank}"][method.name] for rank in (0, 1))
    assert zero["digest"] == one["digest"]
    for name, weight in zero["weights"].items():
        assert torch.equal(weight, one["weights"][name])


@pytest.mark.xdist_group("ddp")
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_two_ranks_equal_one_process_at_the_same_global_batch(results: dict[str, Any], method: Method) -> None:
    two, single = (results[key][method.name] for key in ("world2-rank0", "world1-rank0"))
    agreeing = sum(int((mask == single["masks"][name]).sum()) for name, mask in two["masks"].items())
    assert agreeing >= 0.999 * sum(mask.numel() for mask in two["masks"].values())
    for name, weight in two["weights"].items():
        torch.testing.assert_close(weight, single["weights"][name], rtol=1e-3, atol=1e-5)


@pytest.mark.xdist_group("ddp")
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_an_update_sends_a_hash_and_no_masks(results: dict[str, Any], method: Method) -> None:
    updates = len(method.updates(STEPS))
    assert results["world2-rank0"][method.name]["sent"] == [("allgather_", 8)] * updates


@pytest.mark.parametrize(
    ("scenario", "values"), [("seeds", ("seed=0", "seed=1")), ("windows", ("every=2", "every=3"))], ids=str
)
def test_arguments_that_differ_between_ranks_are_an_error_at_the_start(
    tmp_path: Path, scenario: str, values: tuple[str, str]
) -> None:
    done = launch(SCRIPT, [tmp_path, scenario], 2)
    assert done.returncode != 0
    assert "the ranks were given different arguments: rank 0 has " in done.stderr
    zero, one = done.stderr.split("rank 0 has ", 1)[1].split("rank 1 has ", 1)
    assert values[0] in zero
    assert values[1] in one


def test_masks_that_differ_between_ranks_are_an_error(tmp_path: Path) -> None:
    done = launch(SCRIPT, [tmp_path, "drift"], 2)
    assert done.returncode != 0
    assert "the masks differ between ranks at step" in done.stderr
    assert "rank 0:" in done.stderr
    assert "give every rank the same callback arguments" in done.stderr


def test_a_sparse_pose_estimator_trains_and_scores_alike_on_two_ranks(tmp_path: Path) -> None:
    for ranks in (1, 2):
        done = launch(SCRIPT, [tmp_path, "poses"], ranks)
        assert done.returncode == 0, done.stderr[-3000:]
    single, zero, one = (
        torch.load(tmp_path / f"{name}.pt") for name in ("world1-rank0", "world2-rank0", "world2-rank1")
    )
    assert zero["digest"] == one["digest"]
    for name, weight in zero["weights"].items():
        assert torch.equal(weight, one["weights"][name])
    for key in ("val/loss", "val/pck@0.2"):
        assert zero["scores"][key] == one["scores"][key] == pytest.approx(single["scores"][key], rel=1e-5), key


def run_by_torchrun(out: Path) -> Done:
    """Two nodes with a process each."""
    paths = {"PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "RANK"} | paths
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1"]
    master = ["--master_addr=127.0.0.1", f"--master_port={free_port()}"]
    program = [str(SCRIPT), str(out), "some methods"]
    nodes = [
        subprocess.Popen(
            [*torchrun, f"--node_rank={node}", *master, *program],
            env=environment,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in range(2)
    ]
    errors = [process.communicate(timeout=240)[1] for process in nodes]
    return Done(max(process.returncode for process in nodes), "".join(errors))


def run_by_slurm(out: Path) -> Done:
    """What srun sets for a job of two nodes with a task each."""
    job = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "sparse"}
    job |= {"SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": str(free_port()), "SLURM_JOB_ID": "1", "SLURM_LOCALID": "0"}
    tasks = [{"SLURM_PROCID": str(node), "SLURM_NODEID": str(node), **job} for node in range(2)]
    return launch_in(SCRIPT, [out, "some methods"], tasks)


@pytest.mark.xdist_group("ddp")
@pytest.mark.parametrize("launcher", [pytest.param(run_by_torchrun, marks=pytest.mark.long), run_by_slurm])
def test_two_nodes_end_like_two_processes_of_one(
    results: dict[str, Any], tmp_path: Path, launcher: Callable[[Path], Done]
) -> None:
    done = launcher(tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in range(2):
        for name, found in torch.load(tmp_path / f"world2-rank{rank}.pt").items():
            expected = results[f"world2-rank{rank}"][name]
            assert found["digest"] == expected["digest"]
            assert all(torch.equal(weight, expected["weights"][key]) for key, weight in found["weights"].items())


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_a_run_goes_on_on_another_number_of_ranks(tmp_path: Path, before: int, after: int) -> None:
    for ranks in (before, after):
        done = launch(SCRIPT, [tmp_path, "saved"], ranks)
        assert done.returncode == 0, done.stderr[-3000:]
    whole, rest = (torch.load(tmp_path / f"world{ranks}-rank0.pt") for ranks in (before, after))
    agreeing = sum(int((mask == rest["masks"][name]).sum()) for name, mask in whole["masks"].items())
    assert agreeing >= 0.999 * sum(mask.numel() for mask in whole["masks"].values())
    for name, weight in whole["weights"].items():
        torch.testing.assert_close(weight, rest["weights"][name], rtol=1e-3, atol=1e-5)
