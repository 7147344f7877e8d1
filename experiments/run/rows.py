"""CSV files of results, one row a run."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from callbacks.files.folder_lock import folder_lock
from callbacks.files.safe_files import whole_file

from .yaml_files import configuration_hash

CONFIGURATION = "configuration"
"""The column that says of which configuration a row is; rows of earlier releases do not say it."""


def check_rows(path: Path, columns: Sequence[str]) -> None:
    """Refuse a file that rows of these columns cannot be added to; called before what a row costs.

    Raises:
        ValueError: the file has other columns, or is damaged.
        OSError: its folder cannot be made, or cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{str(path.parent)!r} cannot be written to: choose another folder for the results")
    _rows_of(path, columns)


def append_row(path: Path, row: Mapping[str, object], columns: Sequence[str]) -> None:
    """Add one row to a CSV file, which is whole at any time, whoever else adds one or is killed.

    Columns that the file lacks are added, and are empty in the rows that are there.

    Raises:
        ValueError: the file has other columns, or is damaged; the row has none of these columns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with folder_lock(path.parent):
        _write(path, [*_rows_of(path, columns), row], columns)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file; none if there is no such file.

    Raises:
        ValueError: the file is no CSV, or a row has not as many cells as there are columns.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} cannot be read as CSV: {error}") from error
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ValueError(
                f"{str(path)!r} is damaged: row {number} has not {len(reader.fieldnames or ())} cells, as its header "
                "has; mend the row or take it out"
            )
    return rows


def runs_without_rows(
    configs: Sequence[Path], seeds: Sequence[int], results: Path, more: Sequence[str] = ()
) -> Iterator[tuple[Path, int]]:
    """Yield configurations with seeds that have no row in a file, and print a line for those that have one.

    Args:
        configs: YAML files; a row is theirs by the name of the file and by what is in it.
        seeds: of the runs.
        results: the CSV file.
        more: arguments of the command line besides the file's.

    Raises:
        ValueError: the file has a row of another configuration of the same name.
    """
    for config in configs:
        _check_same(config, configuration_hash(config, more), results)
    for seed in seeds:
        for config in configs:
            if (config.stem, str(seed)) in {(row["config"], row["seed"]) for row in read_rows(results)}:
                print(f"{config.stem}, seed {seed}: already in {results}")
            else:
                yield config, seed


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV file whole; without rows there is none."""
    if rows := list(rows):
        _write(path, rows, list(rows[0]))


def _check_same(config: Path, wanted: str, results: Path) -> None:
    """Refuse results of another configuration of the same name, with which means over seeds would be mixed."""
    for row in read_rows(results):
        if row["config"] == config.stem and row.get(CONFIGURATION, "") not in ("", wanted):
            raise ValueError(
                f"{str(results)!r} has a row of {config.stem!r}, seed {row['seed']}, of another configuration "
                f"({row[CONFIGURATION]} where {str(config)!r} with --set is {wanted}): give --results another file, or "
                "the YAML file another name"
            )


def _rows_of(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a file of these columns, or of some of them in this order."""
    if not path.exists() or not path.stat().st_size:
        return []
    rows = read_rows(path)
    with path.open(newline="", encoding="utf-8") as file:
        header = next(csv.reader(file), [])
    if header != [column for column in columns if column in header]:
        raise ValueError(f"{str(path)!r} has the columns {header}, not {list(columns)}: move it away")
    return [{**dict.fromkeys(columns, ""), **row} for row in rows]


def _write(path: Path, rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> None:
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
