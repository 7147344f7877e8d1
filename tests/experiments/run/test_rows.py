"""Rows of results are written whole, and runs that have one are not run again."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.run.rows import append_row, read_rows, runs_without_rows, write_rows


def test_rows_that_cannot_be_written_leave_the_file_as_it_was(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", [{"a": 1}])
    with pytest.raises(ValueError, match="fields not in fieldnames: 'b'"):
        write_rows(tmp_path / "rows.csv", [{"a": 2}, {"b": 3}])
    assert read_rows(tmp_path / "rows.csv") == [{"a": "1"}]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_runs_that_have_a_row_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, configs = tmp_path / "rows.csv", [Path("configs/a.yaml"), Path("configs/b.yaml")]
    append_row(rows, {"config": "b", "seed": 0}, ["config", "seed"])
    assert list(runs_without_rows(configs, [0, 1], rows)) == [(configs[0], 0), (configs[0], 1), (configs[1], 1)]
    assert capsys.readouterr().out == f"b, seed 0: already in {rows}\n"
