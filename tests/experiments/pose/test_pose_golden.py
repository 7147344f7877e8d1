"""Published predictions give the published scores, to the last printed digit.

The files are no part of this project; POSE_GOLDEN names their folder.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.pose.command import main
from experiments.pose.evaluate import Evaluation, evaluate
from experiments.pose.predictions import Predictions, read_predictions
from lightning_modules.pose.metrics import AUC, PCK, PCKh
from lightning_modules.pose.protocols import LSP, MPII, PoseProtocol

FOLDER = Path(os.environ.get("POSE_GOLDEN", ""))
pytestmark = pytest.mark.skipif(
    "POSE_GOLDEN" not in os.environ, reason="POSE_GOLDEN does not name the folder of golden pose files"
)
FILES = {
    "MPII": ("bearpaw-hg_s1_b1.mat", "detections_our_format.mat"),
    "LSP": ("pred_keypoints_lsp_pc.mat", "lsp-joints-PC.mat"),
}


def read(protocol: PoseProtocol) -> Predictions:
    pred, truth = FILES[protocol.name]
    return read_predictions(FOLDER / pred, protocol, FOLDER / truth)


@pytest.fixture(scope="module")
def mpii() -> Predictions:
    return read(MPII)


@pytest.fixture(scope="module")
def lsp() -> Predictions:
    return read(LSP)


def rounded(result: Evaluation, *keys: str, digits: int) -> list[str]:
    return [f"{result.scores[key].percent:.{digits}f}" for key in keys]


def columns(result: Evaluation) -> str:
    return " ".join(f"{value:.2f}" for value in result.columns.values())


# hourglass of 1 stack, bearpaw/pytorch-pose, on Tompson's 2,958 validation people: the table of anibali/eval-mpii-pose
# and README of the golden files; the intervals are of 2,000 resamples and hold to about 0.05
def test_mpii(mpii: Predictions) -> None:
    result = evaluate(mpii, MPII)
    assert columns(result) == "95.12 96.35 93.61 85.53 79.56 84.51 78.28 73.38"
    assert rounded(result, "pckh@0.5_weighted_le", "pckh@0.5_plain_lt", digits=3) == ["85.085", "84.461"]
    assert rounded(result, "pckh@0.1_weighted_le", "pckh@0.11_weighted_le", digits=3) == ["22.810", "26.849"]
    assert rounded(result, "pckh@0.5_weighted_le", "auc@0.5", digits=4) == ["85.0846", "55.5193"]
    # on this file < and <= are the same
    assert result.scores["pckh@0.5_weighted_lt"].percent == result.scores["pckh@0.5_weighted_le"].percent
    assert f"{result.joints['neck']:.3f} {result.joints['head_top']:.3f}" == "97.578 95.123"
    assert result.people == 2958
    assert mpii.visible.sum() == 44_240
    assert result.interval_95 == pytest.approx((84.5, 85.7), abs=0.1)
    assert result.notes == []


# Yang et al. CVPR 2016 on the 1,000 LSP test images
def test_lsp(lsp: Predictions) -> None:
    result = evaluate(lsp, LSP)
    assert columns(result) == "90.60 78.05 73.85 68.75 74.75 69.95 58.95"
    assert rounded(result, "pck@0.2_weighted_le", "auc@0.2", digits=4) == ["73.5571", "39.2521"]
    assert result.annotated == 14_000
    assert result.interval_95 == pytest.approx((72.0, 75.1), abs=0.1)
    assert result.notes == []


@pytest.mark.parametrize(
    ("offset", "fine", "main_score"), [(-1, "18.19", "84.79"), (1, "26.91", "85.26"), (2, "29.70", "85.37")]
)
def test_a_constant_offset_moves_the_scores_as_it_does(
    offset: int, fine: str, main_score: str, mpii: Predictions
) -> None:
    result = evaluate(replace(mpii, pred=mpii.pred + offset), MPII)
    assert rounded(result, "pckh@0.1_weighted_le", "pckh@0.5_weighted_le", digits=2) == [fine, main_score]


def test_the_other_torso_is_noticed(lsp: Predictions) -> None:
    other = torch.linalg.vector_norm(lsp.target[:, 8] - lsp.target[:, 3], dim=1)
    result = evaluate(replace(lsp, size=other), LSP)
    assert rounded(result, "pck@0.2_weighted_le", digits=2) == ["73.64"]
    assert "size is not the torso" in result.notes[0]


# sizes such as 0.6 * 100 are whole numbers in single precision and nearly so in double, and predictions are whole
# pixels: at the thresholds of the curve, rounding decides on some forty of two million comparisons
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 4), (torch.float32, 2)], ids=["double", "single"])
def test_metrics_give_the_same_in_batches(dtype: torch.dtype, digits: int, mpii: Predictions, lsp: Predictions) -> None:
    metrics = [
        (mpii, PCKh(joints=MPII.scored), 85.0846),
        (mpii, AUC(0.5, joints=MPII.scored), 55.5193),
        (lsp, PCK(), 73.5571),
        (lsp, AUC(0.2), 39.2521),
    ]
    for found, metric, expected in metrics:
        for start in range(0, len(found.pred), 512):
            rows = slice(start, start + 512)
            poses = (found.pred[rows].to(dtype), found.target[rows].to(dtype), found.visible[rows])
            metric.update(*poses, found.size[rows].to(dtype))
        assert f"{100 * metric.compute():.{digits}f}" == f"{expected:.{digits}f}"


@pytest.mark.parametrize("protocol", [MPII, LSP], ids=["MPII", "LSP"])
def test_the_command_prints_them(protocol: PoseProtocol, capsys: pytest.CaptureFixture[str]) -> None:
    pred, truth = (str(FOLDER / name) for name in FILES[protocol.name])
    arguments = ["evaluate", pred, "--protocol", protocol.name.lower(), "--ground-truth", truth]
    main(arguments)
    table = capsys.readouterr().out
    printed = {
        "MPII": ["95.12", "96.35", "73.38", " 85.085 ", " 84.461 ", " 22.810 ", " 26.849 ", " 55.519 "],
        "LSP": ["90.60", "58.95", " 73.557 ", " 39.252 "],
    }
    for number in printed[protocol.name]:
        assert number in table
    main([*arguments, "--json"])
    result = json.loads(capsys.readouterr().out)
    threshold = f"{protocol.measure}@{protocol.threshold:g}_weighted_le"
    assert f"{result['scores'][threshold]['percent']:.3f}" in table
