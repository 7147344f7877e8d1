"""The page of optimizers says what the rows say, also what was refused and what does not hold."""

from __future__ import annotations

from pathlib import Path

from experiments import tables
from experiments.pages.optimizers_page import optimizers_page
from experiments.run.rows import write_rows


def test_promises_refusals_and_means_are_said(tmp_path: Path) -> None:
    source = {"steps": "400", "commit": "abc", "versions": "torch 2", "machine": "one"}
    held = {"outside": "0", "states": "exp_avg z", "uncleared": "0", "first": "3.1", "most": "7.2", "refused": ""}
    rows = [
        {"optimizer": "Adam", "library": "torch", **held, **source},
        {"optimizer": "Bad", "library": "other", **held, "outside": "3", "uncleared": "9", **source},
        {"optimizer": "No", "library": "torch", **dict.fromkeys(held, ""), "refused": "it mixes entries", **source},
    ]
    grown = [
        {"counters": counters, "lr": "0.01", "accuracy": accuracy, **source}
        for counters, accuracy in (("layer", "0.97"), ("layer", "0.96"), ("weight", "0.95"), ("weight", "0.95"))
    ]
    write_rows(tmp_path / "optimizers.csv", rows)
    assert "counters" not in optimizers_page(tmp_path / "optimizers.csv", tmp_path / "grown.csv")
    write_rows(tmp_path / "grown.csv", grown)
    page = optimizers_page(tmp_path / "optimizers.csv", tmp_path / "grown.csv")
    assert "| Adam | torch | exactly 0 | as of a new parameter: `exp_avg`, `z` | 3.1 | 7.2 |" in page
    assert "| Bad | other | 3 are not 0 | 9 entries are kept: `exp_avg`, `z` | 3.1 | 7.2 |" in page
    assert "| No | torch | refused: it mixes entries |  |  |  |" in page
    assert "| 0.01 | 96.50 | 97.00, 96.00 | 95.00 | 95.00, 95.00 |" in page
    assert "it is 96.50 % with counters that stay and 95.00 % with a counter a weight" in page


def test_the_committed_page_is_that_of_the_committed_rows() -> None:
    assert tables.OPTIMIZERS.with_suffix(".md").read_text() == optimizers_page(tables.OPTIMIZERS, tables.GROWN_WEIGHTS)
