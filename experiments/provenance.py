"""Rows of results: every number with what it takes to believe it."""

from __future__ import annotations

import csv
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from .whole_text import whole_file


def provenance() -> dict[str, str]:
    """Commit (with "+" when files differ from it), versions and machine of this process."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", ":!results"], capture_output=True, text=True, check=True
        )
        revision = commit.stdout.strip() + ("+" if changed.stdout.strip() else "")
    except (FileNotFoundError, subprocess.CalledProcessError):
        revision = "unknown"
    lightning = version("pytorch-lightning")
    return {
        "commit": revision,
        "versions": f"python {platform.python_version()}, torch {torch.__version__}, pytorch-lightning {lightning}",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {_device()}",
    }


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


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
    """The rows of a CSV file; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV file whole; without rows there is none."""
    rows = list(rows)
    if not rows:
        return
    with whole_file(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
