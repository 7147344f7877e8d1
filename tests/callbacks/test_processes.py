"""Fits in other processes (ddp_notebook, ddp_fork, ddp_spawn): what is known there is known here afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from process_fit import FITS

SCRIPT = Path(__file__).parents[1] / "process_fit.py"
ROOT = SCRIPT.parents[1]

pytestmark = pytest.mark.xdist_group("processes")  # the run that the tests share is made once


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    out = tmp_path_factory.mktemp("processes")
    paths = {"PYTHONPATH": f"{ROOT}{os.pathsep}{SCRIPT.parent}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(out)]
    done = subprocess.run(command, env=os.environ | paths, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    results: dict[Any, Any] = torch.load(out / "found.pt", weights_only=False)
    return results


def check_equal(found: object, expected: object, where: str) -> None:
    assert type(found) is type(expected), where
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key in expected:
            check_equal(found[key], expected[key], f"{where}, {key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            check_equal(one, other, f"{where}, {place}")
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), where
    else:
        assert found == expected, where


@pytest.mark.parametrize(("strategy", "method"), [*FITS, ("ddp", "rigl")])
def test_masks_and_all_a_checkpoint_holds_are_those_of_a_fit_in_this_process(
    found: dict[Any, Any], strategy: str, method: str
) -> None:
    check_equal(found[strategy, method]["first"], found["expected"][method]["first"], "the first fit")


@pytest.mark.parametrize(("strategy", "method"), [*FITS, ("ddp", "rigl")])
def test_a_second_fit_goes_on_as_one_in_this_process(found: dict[Any, Any], strategy: str, method: str) -> None:
    check_equal(found[strategy, method]["second"], found["expected"][method]["second"], "the second fit")


def test_monitors_can_be_read_after_the_fit(found: dict[Any, Any]) -> None:
    (two, one), ranks = (found["monitors"][strategy] for strategy in ("ddp_notebook", "auto")), 2
    assert two["flops"] == one["flops"]
    assert (two["total"], two["dense"]) == (ranks * one["total"], ranks * one["dense"])
    assert torch.equal(two["eigenvalues"], one["eigenvalues"])


@pytest.mark.parametrize("case", ["far", "full", "late"])
def test_a_second_fit_is_refused_when_the_masks_did_not_come_back(found: dict[Any, Any], case: str) -> None:
    refused = found["refused"][case]
    strategy = "DDPStrategy (_MultiProcessingLauncher)" if case == "late" else "OwnStrategy (OwnLauncher)"
    why = "on another module than is here" if case == "late" else "which left nothing on the disk of this one"
    assert (
        f"RigL does not hold the masks of its last fit: {strategy} trained in other processes, {why}"
        in refused["message"]
    )
    assert "fit(ckpt_path=...)" in refused["message"]
    assert "RigL(masks_from=..., initialization=KeepValues())" in refused["message"]
    assert refused["same"], "the weights stay as they were"


def test_masks_can_be_read_though_the_module_lacks_its_layers(found: dict[Any, Any]) -> None:
    assert found["refused"]["late"]["sparsity"] == pytest.approx(0.8, abs=1e-3)


def test_a_refused_callback_goes_on_from_a_checkpoint(found: dict[Any, Any]) -> None:
    check_equal(*found["resumed"], "resumed")


def test_no_file_is_left_behind(found: dict[Any, Any]) -> None:
    assert found["left"] == []
