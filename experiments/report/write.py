"""From folders of runs to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .groups import grouped
from .page import render
from .poses import pose_pictures
from .runs import find_runs
from .solutions import find_distances
from .study import find_studies


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
    text = render(title, grouped(runs), distances, pose_pictures(runs), out.parent)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    return out
