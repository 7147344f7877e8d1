"""The page of pose results, from made-up rows and from the committed ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from experiments.pose.page import draw_cost, pose_page
from experiments.pose.reproduce import COLUMNS
from experiments.provenance import append_row

COMMITTED = Path(__file__).parents[3] / "experiments" / "results" / "lsp.csv"


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
    assert [line.split("|")[1].strip() for line in lines] == ["`rigl`", "`dense`"]
    assert "| 79.00 | 80.00, 78.00 |" in lines[1]
    draw_cost(rows)
    assert cv2.imread(str(tmp_path / "made_up_cost.png")) is not None
    assert "made_up_cost.png" in page


@pytest.mark.skipif(not COMMITTED.exists(), reason="no rows of runs on LSP yet")
def test_the_page_is_generated_from_the_committed_rows() -> None:
    assert pose_page(COMMITTED) == COMMITTED.with_suffix(".md").read_text(), "run `make results`"
