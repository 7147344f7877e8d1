"""CSV files of results, one row a run."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from callbacks.files.safe_files import whole_file


def append_row(path: Path, row: Mapping[str, object], columns: Sequence[str]) -> None:
    """Add one row to a CSV file, with a header if the file is new.

    Raises:
        ValueError: the file has other columns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        with path.open(newline="") as file:
            header = next(csv.reader(file))
        if header != list(columns):
            raise ValueError(f"{path} has the columns {header}, not {list(columns)}: move it away")
    else:
        path.write_text(",".join(columns) + "\n")
    with path.open("a", newline="") as file:
        csv.DictWriter(file, columns, lineterminator="\n").writerow(row)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def runs_without_rows(configs: Sequence[Path], seeds: Sequence[int], results: Path) -> Iterator[tuple[Path, int]]:
    """Yield configurations with seeds that have no row in a file, and print a line for those that have one."""
    for seed in seeds:
        for config in configs:
            if (config.stem, str(seed)) in {(row["config"], row["seed"]) for row in read_rows(results)}:
                print(f"{config.stem}, seed {seed}: already in {results}")
            else:
                yield config, seed


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV file whole; without rows there is none."""
    rows = list(rows)
    if not rows:
        return
    with whole_file(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
