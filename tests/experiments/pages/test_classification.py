"""The pages of classifiers, from made-up rows and from the committed ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from experiments.pages.classification import accuracy_page, draw_accuracy
from experiments.reproduce import COLUMNS
from experiments.run.rows import append_row
from experiments.tables import CLASSIFIERS


def row(config: str, seed: int, accuracy: float, cost: float) -> dict[str, object]:
    numbers = dict.fromkeys(COLUMNS, 1)
    text = {"config": config, "data": "CIFAR10", "commit": "abc", "versions": "v", "machine": "m", "sparsity": "0.900"}
    return {**numbers, **text, "seed": seed, "test_acc": f"{accuracy:.4f}", "train_ratio": f"{cost:.3f}"}


def test_every_configuration_has_a_line_with_its_mean_and_the_best_is_first(tmp_path: Path) -> None:
    rows = tmp_path / "made_up.csv"
    for one in (row("static", 1, 0.78, 0.2), row("static", 0, 0.80, 0.2), row("dense", 0, 0.9, 1.0)):
        append_row(rows, one, COLUMNS)
    lines = [line for line in accuracy_page(rows).splitlines() if line.startswith("| `")]
    assert [line.split("|")[1].strip() for line in lines] == ["`dense`", "`static`"]
    assert "| 79.00 | 80.00, 78.00 | 0.900 | 1.000 | 0.200 |" in lines[1]
    draw_accuracy(rows)
    assert cv2.imread(str(tmp_path / "made_up_cost.png")) is not None
    assert "made_up_cost.png" in accuracy_page(rows)


@pytest.mark.parametrize("rows", CLASSIFIERS, ids=lambda path: path.stem)
def test_pages_are_generated_from_the_committed_rows(rows: Path) -> None:
    if not rows.exists():
        pytest.skip("no such runs yet")
    assert accuracy_page(rows) == rows.with_suffix(".md").read_text(), "run `make results`"
