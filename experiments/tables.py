"""python -m experiments tables: the tables of README.md and callbacks/README.md, and pages of studies, from results."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from .pages.classification import accuracy_page, draw_accuracy
from .pages.conformance_page import conformance_page
from .pages.inference_page import inference_page, inference_table
from .pages.methods_table import method_table
from .pages.updates_table import updates_table
from .paper.figures import draw_figures
from .paper.page import lenet5_page
from .pose.costs import cost_table
from .pose.page import draw_alphas, draw_cost, pose_page, pose_table
from .report.write import write_report
from .run.command import command_parser, run_old_form

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results" / "mnist.csv"
LENET5 = ROOT / "experiments" / "results" / "lenet5"
CIFAR10 = ROOT / "experiments" / "results" / "cifar10.csv"
CLASSIFIERS = [CIFAR10]
POSES = [ROOT / "experiments" / "results" / name for name in ("lsp.csv", "lsp_short.csv")]
CONFORMANCE = ROOT / "experiments" / "results" / "conformance.csv"
UPDATES = ROOT / "experiments" / "results" / "mask_updates.csv"
INFERENCE = ROOT / "experiments" / "results" / "sparse_inference.csv"
TRAINED = ROOT / "experiments" / "results" / "sparse_inference_trained.csv"
README = ROOT / "README.md"
CALLBACKS_README = ROOT / "callbacks" / "README.md"


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


def readme() -> str:
    """README.md with its tables between their markers."""
    tables = {
        "methods": method_table(CIFAR10, "resnet20"),
        "results": f"## Results\n\n{mnist_table()}",
        "costs": cost_table(),
        "poses": pose_table(POSES),
        "inference": inference_table(INFERENCE),
    }
    return filled(README.read_text(), tables)


def callbacks_readme() -> str:
    """callbacks/README.md likewise."""
    return filled(CALLBACKS_README.read_text(), {"updates": updates_table(UPDATES)})


def filled(text: str, tables: Mapping[str, str]) -> str:
    """The text with each table between the markers of its name."""
    for name, content in tables.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n{content}\n{end}{rest.split(end)[1]}"
    return text


def main(args: Sequence[str] | None = None) -> None:
    command_parser("tables", __doc__).parse_args(args)
    README.write_text(readme())
    CALLBACKS_README.write_text(callbacks_readme())
    if CONFORMANCE.exists():
        CONFORMANCE.with_suffix(".md").write_text(conformance_page(CONFORMANCE))
    if INFERENCE.exists():
        INFERENCE.with_suffix(".md").write_text(inference_page(INFERENCE, TRAINED))
    if (LENET5 / "runs.csv").exists():
        draw_figures(LENET5)
        LENET5.with_suffix(".md").write_text(lenet5_page(LENET5))
        write_report([LENET5], LENET5 / "report.html", "The paper's LeNet-5 study, run again")
    for rows in filter(Path.exists, CLASSIFIERS):
        draw_accuracy(rows)
        rows.with_suffix(".md").write_text(accuracy_page(rows))
    for rows in filter(Path.exists, POSES):
        draw_cost(rows)
        draw_alphas(rows)
        rows.with_suffix(".md").write_text(pose_page(rows))


if __name__ == "__main__":
    run_old_form("tables", main)
