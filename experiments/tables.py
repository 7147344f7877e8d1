"""Write README.md's tables and the pages of studies from experiments/results: python -m experiments.tables."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path

from .paper.figures import draw_figures
from .paper.page import lenet5_page

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results" / "mnist.csv"
LENET5 = ROOT / "experiments" / "results" / "lenet5"
README = ROOT / "README.md"
START, END = "<!-- results -->", "<!-- /results -->"


def mnist_table() -> str:
    """Test accuracy of every configuration, from the committed rows."""
    with RESULTS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [
        "| configuration | test accuracy, % (mean) | by seed | minutes a run |",
        "|---|---|---|---|",
    ]
    for config in sorted({row["config"] for row in rows}):
        own = sorted((row for row in rows if row["config"] == config), key=lambda row: int(row["seed"]))
        scores = [100 * float(row["test_acc"]) for row in own]
        minutes = statistics.median(float(row["minutes"]) for row in own)
        by_seed = ", ".join(f"{score:.2f}" for score in scores)
        lines.append(f"| `{config}` | {statistics.mean(scores):.2f} | {by_seed} | {minutes:.1f} |")
    steps = "/".join(sorted({row["steps"] for row in rows}))
    machines = "; ".join(sorted({f"{row['machine']}; {row['versions']}" for row in rows}))
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    source = "[experiments/results/mnist.csv](experiments/results/mnist.csv)"
    note = f"MNIST, 60,000 training images, {steps} steps. Rows: {source} (commit {commits}; {machines})."
    return "\n".join([*lines, "", note])


def readme_with(table: str) -> str:
    """README.md with ``table`` between the markers."""
    text = README.read_text()
    before, rest = text.split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n## Results\n\n{table}\n{END}{after}"


def main() -> None:
    README.write_text(readme_with(mnist_table()))
    if (LENET5 / "runs.csv").exists():
        draw_figures(LENET5)
        LENET5.with_suffix(".md").write_text(lenet5_page(LENET5))


if __name__ == "__main__":
    main()
