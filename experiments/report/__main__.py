"""python -m experiments.report RUN_DIR...: one HTML file about one run or many; it needs no network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..command import run_command
from .groups import grouped
from .page import render
from .poses import pose_pictures
from .runs import find_runs
from .solutions import find_distances
from .study import find_studies


def main(args: Sequence[str] | None = None) -> Path:
    """Write the report and return its path.

    Example:
        >>> main(["runs/quickstart"])  # doctest: +SKIP
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_DIR", help="a run, or a folder above several")
    parser.add_argument("--out", type=Path, help="file to write; by default report.html in the first folder")
    parser.add_argument("--title", help="by default the names of the folders")
    chosen = parser.parse_args(args)
    title = chosen.title or ", ".join(folder.resolve().name for folder in chosen.folders)
    path = write_report(chosen.folders, chosen.out or chosen.folders[0] / "report.html", title)
    print(f"report: {path}")
    return path


def write_report(folders: Sequence[Path], out: Path, title: str) -> Path:
    """One HTML file about all runs at or below the folders.

    Raises:
        FileNotFoundError: a folder is not there, or holds no run.
        OSError: the file cannot be written.
    """
    runs, distances = [], []
    for folder in dict.fromkeys(folders):
        found = [*find_runs(folder), *find_studies(folder)] if folder.is_dir() else []
        if not found:
            what = (
                "holds no run: neither a metrics.csv, which CSVLogger writes, nor a run.json"
                if folder.is_dir()
                else "is not there"
            )
            raise FileNotFoundError(
                f"the folder {str(folder)!r} {what}; give one that a fit wrote to, such as runs/NAME"
            )
        runs += found
        distances += find_distances(folder)
    text = render(title, grouped(runs), distances, pose_pictures(runs))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    return out


if __name__ == "__main__":
    run_command(main)
