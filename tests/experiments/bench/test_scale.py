"""Rows of what mask updates take: one measured on a small network, one by arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fits import TinyModule, trainer

from experiments.bench.mask_updates import scale
from experiments.pages.updates_table import updates_table
from experiments.run.rows import read_rows


def test_a_row_is_measured_and_one_computed(tmp_path: Path) -> None:
    scale.main(tmp_path / "rows.csv", widths=[0.125], beyond=1.0, updates=2)
    measured, computed = read_rows(tmp_path / "rows.csv")
    assert float(measured["seconds"]) > 0
    # masks that are new, a byte a weight, and some of the largest layer: scores and their ranks, 8 bytes each
    assert int(measured["weights"]) + 8 * int(measured["largest"]) <= int(measured["peak_bytes"])
    assert int(measured["peak_bytes"]) < 2 * int(measured["weights"]) + 40 * int(measured["largest"])
    assert int(computed["weights"]) == 25_502_912
    assert measured["commit"] == computed["commit"]
    assert "| *25.5M* | *2.4M* |" in updates_table(tmp_path / "rows.csv")


def test_what_is_held_for_a_moment_between_two_callbacks_is_seen() -> None:
    first = scale.PeakMemory()
    last = scale.PeakMemory(first)
    arguments = trainer([]), TinyModule(), None
    first.on_before_optimizer_step(*arguments)
    held = torch.ones(2**24)  # 64 MB
    del held
    torch.ones(2**20)
    last.on_before_optimizer_step(*arguments)
    assert last.peak == 2**26


def test_memory_by_arithmetic_is_a_byte_a_weight_and_some_of_the_largest_layer() -> None:
    row = {"method": "", "seconds": 1.0, "weights": 1_000_000, "largest": 500_000, "peak_bytes": 6_000_000}
    computed = scale.by_arithmetic(row, 1.0)
    assert computed["peak_bytes"] == 25_502_912 + 10 * 2_359_296
    assert computed["seconds"] == pytest.approx(25.503)
