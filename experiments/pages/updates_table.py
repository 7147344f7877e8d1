"""The table of callbacks/README.md: time and memory of a mask update by the number of weights."""

from __future__ import annotations

from pathlib import Path

from ..run.rows import read_rows
from .markdown import table
from .result_rows import origin_of


def updates_table(rows_of: Path) -> str:
    """Return a table of seconds and memory of an update; rows that were computed and not measured are in italics."""
    if not (rows := read_rows(rows_of)):
        return "Not measured yet."
    header = ["weights", "largest layer", "s an update", "held at once at most, MB"]
    lines = []
    for row in rows:
        weights, largest = (f"{int(row[name]) / 1e6:,.1f}M" for name in ("weights", "largest"))
        cells = [weights, largest, f"{float(row['seconds']):.2f}", f"{int(row['peak_bytes']) / 1e6:,.0f}"]
        if row["updates"] == "0":
            cells = [f"*{cell}*" for cell in cells]
        lines.append(cells)
    source = f"[{rows_of.name}](../experiments/results/{rows_of.name})"
    note = (
        f"ResNet-50 at several widths, {rows[0]['method']} with ERK, medians of {rows[0]['updates']} updates. "
        "Held are tensors, beyond those that were there before. *In italics*: by arithmetic from the row above. "
        f"Rows: {source}. {origin_of(rows)}"
    )
    return "\n".join([table(header, lines, left=header), "", note])
