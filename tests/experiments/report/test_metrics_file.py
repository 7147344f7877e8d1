from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.report.metrics_file import read_metrics


def test_curves_are_read_by_key(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train/loss,val/acc\n0,9,2.5,\n0,19,2.25,\n1,19,,0.5\n")
    curves, notes = read_metrics(path)
    assert set(curves) == {"train/loss", "val/acc"}
    np.testing.assert_array_equal(curves["train/loss"].steps, [9, 19])
    np.testing.assert_array_equal(curves["train/loss"].values, [2.5, 2.25])
    assert curves["val/acc"].last == 0.5
    assert notes == []


@pytest.mark.parametrize(
    ("text", "kept", "note"),
    [
        ("step,loss\n1,2.0\n2,", [2.0], None),  # a cell that is not there yet is no damage
        ("step,loss\n1,2.0\n2", [2.0], "1 cut lines left out"),
        ("step,loss\n1,2.0\n2,x\n3,1.0\n", [2.0, 1.0], "1 cells that are not numbers left out"),
        ("step,loss\n1,2.0\n,1.5\n", [2.0], "1 cells that are not numbers left out"),
        ("step,loss\n1,2.0\n\0\0\0\0\n", [2.0], "1 cut lines left out"),
        ("step,loss\n1,2.0\n2,\xff\xfe\n", [2.0], "1 cells that are not numbers left out"),
        ("step,loss\n", [], None),
        ("", [], "no column 'step'"),
        ("loss\n1\n", [], "no column 'step'"),
    ],
)
def test_what_is_damaged_is_left_out_and_told(text: str, kept: list[float], note: str | None, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(text.encode("latin-1"))
    curves, notes = read_metrics(path)
    assert (list(curves["loss"].values) if kept else curves) == (kept or {})
    assert len(notes) == (note is not None)
    if note:
        assert note in notes[0]
        assert str(path) in notes[0]


def test_nan_and_infinity_are_numbers_that_were_logged(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss\n1,nan\n2,inf\n")
    curves, notes = read_metrics(tmp_path / "metrics.csv")
    assert np.isnan(curves["loss"].values[0])
    assert curves["loss"].values[1] == np.inf
    assert notes == []
