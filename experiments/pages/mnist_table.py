"""README's table of results on MNIST."""

from __future__ import annotations

import statistics
from pathlib import Path

from ..run.rows import read_rows
from .markdown import table
from .result_rows import by_config, distinct, mean


def mnist_table(rows_of: Path) -> str:
    """Return the test accuracy of every configuration, from the committed rows."""
    rows = read_rows(rows_of)
    lines = []
    for config, runs in sorted(by_config(rows, "test_acc").items()):
        by_seed = ", ".join(f"{100 * float(run['test_acc']):.2f}" for run in runs)
        minutes = statistics.median(float(run["minutes"]) for run in runs)
        lines.append([f"`{config}`", f"{100 * mean(runs, 'test_acc'):.2f}", by_seed, f"{minutes:.1f}"])
    header = ["configuration", "test accuracy, % (mean)", "by seed", "minutes a run"]
    machines = "; ".join(sorted({f"{row['machine']}; {row['versions']}" for row in rows}))
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    source = "[experiments/results/mnist.csv](experiments/results/mnist.csv)"
    steps = distinct(rows, "steps")
    note = f"MNIST, 60,000 training images, {steps} steps. Rows: {source} (commit {commits}; {machines})."
    return "\n".join([table(header, lines, left=header), "", note])
