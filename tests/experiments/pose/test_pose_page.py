"""The page of pose results, from made-up rows and from the committed ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from experiments.pose.page import draw_alphas, draw_cost, pose_page
from experiments.pose.reproduce import COLUMNS
from experiments.pose.robustness import COLUMNS as ROBUSTNESS
from experiments.run.rows import append_row
from experiments.tables import POSES


def row(config: str, seed: int, score: float, active: float) -> dict[str, object]:
    numbers = dict.fromkeys(COLUMNS, 1)
    text = {"config": config, "data": "LSP", "commit": "abc", "versions": "v", "machine": "m", "sparsity": "0.900"}
    return {**numbers, **text, "seed": seed, "score": f"{score:.2f}", "active_gmac": f"{active:.3f}"}


def test_every_configuration_has_a_line_with_its_mean_and_the_best_is_first(tmp_path: Path) -> None:
    rows = tmp_path / "made_up.csv"
    for one in (row("dense", 1, 78.0, 0.4), row("dense", 0, 80.0, 0.4), row("rigl", 0, 81.5, 0.1)):
        append_row(rows, one, COLUMNS)
    page = pose_page(rows)
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    assert [line.split("|")[1].strip() for line in lines[:2]] == ["`rigl`", "`dense`"]
    assert "| 79.00 | 80.00, 78.00 |" in lines[1]
    assert lines[2:] == [
        f"| `{name}` |" + " 1.0 |" * 7 + f" {score} |" for name, score in (("rigl", "81.50"), ("dense", "79.00"))
    ]
    assert "| Wei et al. 2016 (CPM) | 96.8 | 87.1 | 80.4 | 75.1 | 86.5 | 83.2 | 81.2 | 84.32 |" in page
    draw_cost(rows)
    assert cv2.imread(str(tmp_path / "made_up_cost.png")) is not None
    assert "made_up_cost.png" in page


def test_a_network_is_compared_with_its_control_seed_by_seed(tmp_path: Path) -> None:
    rows = tmp_path / "made_up.csv"
    scores = {("small", 0): 54.0, ("small", 1): 55.0, ("small_control", 0): 53.0, ("small_control", 1): 55.5}
    for (config, seed), score in scores.items():
        append_row(rows, row(config, seed, score, 0.4) | {"Wri": score / 2}, COLUMNS)
    page = pose_page(rows)
    assert "`small` against `small_control`" in page
    assert "+0.25 in the mean of 2 seeds (+1.00, -0.50)" in page
    assert "Wri +0.1" in page


def test_alphas_and_boxes_have_a_section_where_there_are_rows(tmp_path: Path) -> None:
    rows = tmp_path / "made_up.csv"
    append_row(rows, row("dense", 0, 80.0, 0.4), COLUMNS)
    draw_alphas(rows)
    assert "alphas" not in pose_page(rows)
    alphas = {f"{pass_}/{joint}": 0.1 * joint for pass_ in ("0_inward", "1_outward") for joint in range(14)}
    for step in (0, 100):
        one = {"config": "dense", "seed": 0, "step": step, **alphas}
        append_row(tmp_path / "made_up_alphas.csv", one, list(one))
    box = {**dict.fromkeys(ROBUSTNESS, "m"), "config": "dense", "shift": 0.1, "scale": 1.0, "score": "71.50"}
    append_row(tmp_path / "made_up_robustness.csv", box, ROBUSTNESS)
    draw_alphas(rows)
    assert cv2.imread(str(tmp_path / "made_up_alphas.png")) is not None
    page = pose_page(rows)
    assert "made_up_alphas.png" in page
    assert "| `dense` | 0.1 | 1.0 | 71.50 | m .. m |" in page


@pytest.mark.parametrize("rows", POSES, ids=lambda path: path.stem)
def test_the_page_is_generated_from_the_committed_rows(rows: Path) -> None:
    if not rows.exists():
        pytest.skip("no such runs yet")
    assert pose_page(rows) == rows.with_suffix(".md").read_text(), "run `make results`"
