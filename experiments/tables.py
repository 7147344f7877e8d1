"""Write the tables of README.md and callbacks/README.md, and the pages of results: python -m experiments tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from callbacks.files.safe_files import write_whole_text

from .pages.classification import accuracy_page, draw_accuracy
from .pages.conformance_page import conformance_page
from .pages.inference_page import inference_page, inference_table
from .pages.methods_table import method_table
from .pages.mnist_table import mnist_table
from .pages.optimizers_page import optimizers_page
from .pages.updates_table import updates_table
from .paper.figures import draw_figures
from .paper.page import lenet5_page
from .pose.costs import cost_table
from .pose.page import draw_alphas, draw_cost, pose_page, pose_table
from .report.write import write_report
from .run.command import command_parser, run_old_form

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
MNIST = RESULTS / "mnist.csv"
LENET5 = RESULTS / "lenet5"
CIFAR10 = RESULTS / "cifar10.csv"
CLASSIFIERS = [CIFAR10]
POSES = [RESULTS / name for name in ("lsp.csv", "lsp_short.csv")]
CONFORMANCE = RESULTS / "conformance.csv"
UPDATES = RESULTS / "mask_updates.csv"
OPTIMIZERS = RESULTS / "optimizers.csv"
GROWN_WEIGHTS = RESULTS / "grown_weights.csv"
INFERENCE = RESULTS / "sparse_inference.csv"
TRAINED = RESULTS / "sparse_inference_trained.csv"
README = ROOT / "README.md"
CALLBACKS_README = ROOT / "callbacks" / "README.md"


def readme() -> str:
    """Return README.md with its tables between their markers."""
    tables = {
        "methods": method_table(CIFAR10, "resnet20"),
        "results": f"## Results\n\n{mnist_table(MNIST)}",
        "costs": cost_table(),
        "poses": pose_table(POSES),
        "inference": inference_table(INFERENCE),
    }
    return fill(README.read_text(encoding="utf-8"), tables)


def callbacks_readme() -> str:
    """Return callbacks/README.md with its table between its markers."""
    return fill(CALLBACKS_README.read_text(encoding="utf-8"), {"updates": updates_table(UPDATES)})


def fill(text: str, tables: Mapping[str, str]) -> str:
    """Return the text with each table between the markers of its name."""
    for name, content in tables.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n{content}\n{end}{rest.split(end)[1]}"
    return text


def main(args: Sequence[str] | None = None) -> None:
    command_parser("tables", __doc__).parse_args(args)
    write_whole_text(readme(), README)
    write_whole_text(callbacks_readme(), CALLBACKS_README)
    if CONFORMANCE.exists():
        write_whole_text(conformance_page(CONFORMANCE), CONFORMANCE.with_suffix(".md"))
    if OPTIMIZERS.exists():
        write_whole_text(optimizers_page(OPTIMIZERS, GROWN_WEIGHTS), OPTIMIZERS.with_suffix(".md"))
    if INFERENCE.exists():
        write_whole_text(inference_page(INFERENCE, TRAINED), INFERENCE.with_suffix(".md"))
    if (LENET5 / "runs.csv").exists():
        draw_figures(LENET5)
        write_whole_text(lenet5_page(LENET5), LENET5.with_suffix(".md"))
        write_report([LENET5], LENET5 / "report.html", "The paper's LeNet-5 study, run again")
    for rows in filter(Path.exists, CLASSIFIERS):
        draw_accuracy(rows)
        write_whole_text(accuracy_page(rows), rows.with_suffix(".md"))
    for rows in filter(Path.exists, POSES):
        draw_cost(rows)
        draw_alphas(rows)
        write_whole_text(pose_page(rows), rows.with_suffix(".md"))


if __name__ == "__main__":
    run_old_form("tables", main)
