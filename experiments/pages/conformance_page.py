"""The page of `make conformance`: which methods ran in which settings, and what failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..run.rows import read_rows
from .markdown import table
from .result_rows import Row, origin_of

SETTINGS = {
    "processes": "processes (DDP, gloo)",
    "precision": "precision",
    "accumulate": "batches a step",
    "compiled": "torch.compile",
    "clip": "clipping",
    "optimizer": "optimizer",
}


def conformance_page(rows_of: Path) -> str:
    """Return a page of Markdown: methods against the values of each setting, cells passed of cells run."""
    rows = read_rows(rows_of)
    own: dict[str, list[Row]] = {}
    for row in rows:
        own.setdefault(row["method"], []).append(row)
    minutes = sum(float(row["seconds"]) for row in rows) / 60
    lines = [
        "# Every method in every setting",
        "",
        f"{_passed(rows)} cells passed, in {minutes:.1f} minutes. A cell is a fit of 13 steps of one method that a "
        "witness watches: masked weights and their momentum are 0 after every step, counts are exact, masks change "
        "when they should and as they should, and two processes hold the same masks and weights. Every two values of "
        "two settings meet in some cell, but for what torch or Lightning cannot do with any module: fused optimizers "
        "with a gradient scaler or with clipping in bf16, and DDP's static graph with accumulation.",
        "",
        "Each entry: cells passed of cells run.",
    ]
    for setting, title in SETTINGS.items():
        values = sorted({row[setting] for row in rows})
        cells = [
            [method, *(_passed([row for row in own[method] if row[setting] == value]) for value in values)]
            for method in own
        ]
        lines += ["", table([f"method \\ {title}", *values], cells, left=values)]
    failed = [row for row in rows if row["result"] != "passed"]
    if failed:
        lines += ["", "## Failed", ""]
        lines += [f"- {', '.join(row[name] for name in ('method', *SETTINGS))}: {row['result']}" for row in failed]
    lines += ["", f"Rows: [{rows_of.name}]({rows_of.name}), written by `make conformance`. {origin_of(rows)}"]
    on_gpu = rows_of.with_name(f"{rows_of.stem}_gpu.csv")
    if gpu_rows := read_rows(on_gpu):
        written = (
            f"Rows: [{on_gpu.name}]({on_gpu.name}), written by `python tests/conformance.py --alone --results FILE`."
        )
        lines += [
            "",
            f"On a GPU, the cells of one process: {_passed(gpu_rows)} passed. {written} {origin_of(gpu_rows)}",
        ]
    return "\n".join([*lines, ""])


def _passed(rows: Sequence[Row]) -> str:
    return f"{sum(row['result'] == 'passed' for row in rows)}/{len(rows)}"
