"""The page of conformance counts what passed and names what failed."""

from __future__ import annotations

from pathlib import Path

from experiments.pages.conformance_page import conformance_page
from experiments.run.rows import write_rows


def test_cells_are_counted_and_failures_named(tmp_path: Path) -> None:
    cell = {"processes": "1", "precision": "32-true", "accumulate": 1, "compiled": False, "clip": "none"}
    source = {"seconds": "6.0", "commit": "abc", "versions": "torch 2", "machine": "one"}
    rows = [
        {"method": "rigl", **cell, "optimizer": "SGD", "result": "passed", **source},
        {"method": "rigl", **cell, "optimizer": "Adam", "result": "ValueError: 3 leaks", **source},
        {"method": "set", **cell, "optimizer": "SGD", "result": "passed", **source},
    ]
    write_rows(tmp_path / "conformance.csv", rows)
    page = conformance_page(tmp_path / "conformance.csv")
    assert "2/3 cells passed" in page
    assert "| method \\ optimizer | Adam | SGD |\n|---|---|---|\n| rigl | 0/1 | 1/1 |\n| set | 0/0 | 1/1 |" in page
    assert "- rigl, 1, 32-true, 1, False, none, Adam: ValueError: 3 leaks" in page
    assert "GPU" not in page
    write_rows(tmp_path / "conformance_gpu.csv", rows[:1])
    assert "On a GPU, the cells of one process: 1/1 passed." in conformance_page(tmp_path / "conformance.csv")
