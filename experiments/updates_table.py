"""The table of callbacks/README.md: what a mask update takes, by the number of weights."""

from __future__ import annotations

from pathlib import Path

from .provenance import read_rows
from .result_rows import origin


def updates_table(rows_of: Path) -> str:
    """Seconds and memory of an update, from the committed rows; rows without updates are arithmetic."""
    if not (rows := read_rows(rows_of)):
        return "Not measured yet."
    lines = [
        "| weights | largest layer | s an update | memory it needs at most, MB | bytes a weight |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        weights, peak = int(row["weights"]), int(row["peak_bytes"])
        cells = [f"{weights / 1e6:,.1f}M", f"{int(row['largest']) / 1e6:,.1f}M", f"{float(row['seconds']):.2f}"]
        cells += [f"{peak / 1e6:,.0f}", f"{peak / weights:.1f}"]
        if row["updates"] == "0":
            cells = [f"*{cell}*" for cell in cells]
        lines.append(f"| {' | '.join(cells)} |")
    source = f"[{rows_of.name}](../experiments/results/{rows_of.name})"
    note = (
        f"ResNet-50 at several widths, {rows[0]['method']} with ERK, medians of {rows[0]['updates']} updates; *in "
        f"italics*: by arithmetic from the row above. Rows: {source}. {origin(rows)}"
    )
    return "\n".join([*lines, "", note])
