"""The way from folders of runs to a report's file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from callbacks.files.safe_files import write_whole_text

from .distances import find_distances
from .groups import group_runs
from .page import render
from .poses import pose_pictures
from .runs import find_runs
from .study import find_studies


def write_report(folders: Sequence[Path], out: Path, title: str) -> Path:
    """Write one HTML file about all runs at or below the folders.

    Raises:
        FileNotFoundError: a folder is not there, or holds no run.
        OSError: the file cannot be written.
    """
    runs, distances, notes = [], [], []
    for folder in dict.fromkeys(folders):
        studies, wrong = find_studies(folder)
        notes += wrong
        runs_here = [*find_runs(folder), *studies] if folder.is_dir() else []
        if not runs_here:
            what = (
                "holds no run: neither a metrics.csv, which CSVLogger writes, nor a run.json"
                if folder.is_dir()
                else "is not there"
            )
            raise FileNotFoundError(
                f"the folder {str(folder)!r} {what}; give one that a fit wrote to, such as runs/NAME"
            )
        runs += runs_here
        distances_here, wrong = find_distances(folder)
        distances += distances_here
        notes += wrong
    write_whole_text(render(title, group_runs(runs), distances, pose_pictures(runs), out.parent, notes), out)
    return out
