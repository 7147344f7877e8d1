"""Write one HTML file about one run or many, which needs no network: python -m experiments report RUN_DIR..."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..run.command import command_parser
from .write import write_report


def main(args: Sequence[str] | None = None) -> Path:
    """Write the report and return its path.

    Example:
        >>> main(["runs/quickstart"])  # doctest: +SKIP
    """
    parser = command_parser("report", __doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_DIR", help="a run, or a folder above several")
    parser.add_argument("--out", type=Path, help="file to write; by default report.html in the first folder")
    parser.add_argument("--title", help="by default the names of the folders")
    chosen = parser.parse_args(args)
    title = chosen.title or ", ".join(folder.resolve().name for folder in chosen.folders)
    path = write_report(chosen.folders, chosen.out or chosen.folders[0] / "report.html", title)
    print(f"report: {path}")
    return path
