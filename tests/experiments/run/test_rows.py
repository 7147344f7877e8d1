"""Rows of results are written whole, and runs that have one are not run again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from experiments.run.rows import CONFIGURATION, append_row, check_rows, read_rows, runs_without_rows, write_rows
from experiments.run.yaml_files import configuration_hash


def test_rows_that_cannot_be_written_leave_the_file_as_it_was(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", [{"a": 1}])
    with pytest.raises(ValueError, match="fields not in fieldnames: 'b'"):
        write_rows(tmp_path / "rows.csv", [{"a": 2}, {"b": 3}])
    assert read_rows(tmp_path / "rows.csv") == [{"a": "1"}]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@pytest.fixture
def configs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.yaml" for name in "ab"]
    for path in paths:
        path.write_text(f"trainer: {{max_steps: 3}}\nname: {path.stem}  # of the run\n")
    return paths


def test_runs_that_have_a_row_are_left_out(
    tmp_path: Path, configs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    append_row(rows, {"config": "b", "seed": 0}, ["config", "seed"])
    assert list(runs_without_rows(configs, [0, 1], rows)) == [(configs[0], 0), (configs[0], 1), (configs[1], 1)]
    assert capsys.readouterr().out == f"b, seed 0: already in {rows}\n"


COLUMNS = ["config", CONFIGURATION, "seed"]


def row_of(config: Path, *more: str) -> dict[str, object]:
    return {"config": config.stem, CONFIGURATION: configuration_hash(config, more), "seed": 0}


def test_a_row_is_that_of_a_whole_configuration(tmp_path: Path, configs: list[Path]) -> None:
    rows, [config, _] = tmp_path / "rows.csv", configs
    append_row(rows, row_of(config), COLUMNS)
    config.write_text("name: a\ntrainer:\n  max_steps: 3\n")  # in other words
    assert list(runs_without_rows([config], [0, 1], rows)) == [(config, 1)]
    said = r"rows.csv' has a row of 'a', seed 0, of another configuration \(\w{8} where '.*a.yaml' with --set is \w{8}"
    with pytest.raises(ValueError, match=said):
        list(runs_without_rows([config], [0], rows, ["--trainer.max_steps=4"]))
    config.write_text("trainer: {max_steps: 4}\nname: a\n")
    with pytest.raises(ValueError, match=said):
        list(runs_without_rows([config], [1], rows))


def test_rows_of_an_earlier_release_get_the_new_column(tmp_path: Path, configs: list[Path]) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("config,seed\na,0")  # and without an end of its last line
    append_row(rows, row_of(configs[1]), COLUMNS)
    assert [row[CONFIGURATION] for row in read_rows(rows)] == ["", configuration_hash(configs[1])]
    assert list(runs_without_rows(configs, [0], rows)) == []


@pytest.mark.parametrize("content", ["", "a,b\n1,2", "a,b\n", "a,b\r\n1,2\r\n"])
def test_a_row_is_added_to_a_file_that_ends_anywhere(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.csv").write_text(content, newline="")
    check_rows(tmp_path / "rows.csv", ["a", "b"])
    append_row(tmp_path / "rows.csv", {"a": 3, "b": "4, 5"}, ["a", "b"])
    assert read_rows(tmp_path / "rows.csv") == [{"a": "1", "b": "2"}] * ("1" in content) + [{"a": "3", "b": "4, 5"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,c\n1,2\n", r"has the columns \['a', 'c'\], not \['a', 'b'\]: move it away"),
        (b"b,a\n1,2\n", r"has the columns \['b', 'a'\]"),
        (b"a,b\n1,2,3\n", "row 2 has not 2 cells"),
        (b"a,b\n1,2\n3\n", "row 3 has not 2 cells"),
        (b"a,b\n\xff,2\n", "cannot be read as CSV: 'utf-8'"),
        (b'a,b\n"1"2,2\n', "cannot be read as CSV: "),
    ],
)
def test_a_file_that_no_row_can_be_added_to_is_said_at_once(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    for refuse in check_rows, lambda path, columns: append_row(path, {"a": 1}, columns):
        with pytest.raises(ValueError, match=rf"rows.csv' .*{said}"):
            refuse(path, ["a", "b"])
    assert path.read_bytes() == content


def test_rows_of_many_writers_are_all_there(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:  # the lock is of an open folder, so that it holds among threads as well
        list(pool.map(lambda who: add_rows(tmp_path / "rows.csv", who), range(4)))
    found = [(row["who"], row["which"]) for row in read_rows(tmp_path / "rows.csv")]
    assert sorted(found) == [(str(who), str(which)) for who in range(4) for which in range(10)]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def add_rows(path: Path, who: int) -> None:
    for which in range(10):
        append_row(path, {"who": who, "which": which}, ["who", "which"])
