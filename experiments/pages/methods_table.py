"""README's table of methods: what each does, what it costs, and the accuracy that was measured."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..run.rows import read_rows
from .markdown import table
from .result_rows import Row, by_config, distinct, mean


class Method(NamedTuple):
    """A line of the table.

    Args:
        callback: the callback as it is written in code.
        mask: what it does with the mask.
        paper: authors and year.
        cost: the FLOPs of a training step on a sample; f is a forward pass, dense or at the mask's sparsity.
        run: the end of the name of the configuration that measures it; None without one.
    """

    callback: str
    mask: str
    paper: str
    cost: str
    run: str | None


METHODS = [
    Method("no callback", "dense", "", "3 f(dense)", ""),
    Method("SparseTraining(sparsity)", "random, fixed (static)", "Evci 2022", "3 f", "static_90"),
    Method(
        "SET(sparsity)",
        "every 100 steps the smallest weights go, others grow at random",
        "Mocanu 2018",
        "3 f",
        "set_90",
    ),
    Method(
        "RigL(sparsity)",
        "... grow where the dense gradient is largest",
        "Evci 2020",
        "3 f; at updates 2 f + f(dense)",
        "rigl_90",
    ),
    Method(
        "SRigL(sparsity)",
        "RigL with equally many inputs for every neuron, or none",
        "Lasby 2024",
        "as RigL",
        "srigl_90",
    ),
    Method("NM(n, m)", "RigL within every m inputs, of which n are active", "Mishra 2021", "as RigL", "nm_1_8"),
    Method(
        "SNFS(sparsity)",
        "grows by the averaged gradient, also from layer to layer",
        "Dettmers 2019",
        "2 f + f(dense)",
        "snfs_90",
    ),
    Method(
        "TopKAST(sparsity)",
        "the largest weights; more of them learn than are used",
        "Jayakumar 2020",
        "2 f + f(those that learn)",
        "topkast_90",
    ),
    Method(
        "GraNet(sparsity)",
        "pruned step by step, and regrown as RigL does",
        "Liu 2021",
        "3 f at the step's sparsity; as RigL",
        "granet_90",
    ),
    Method(
        "GradualPruning(sparsity)",
        "all weights at first; the smallest go, update by update, per layer or globally",
        "Zhu 2017",
        "3 f at the step's sparsity",
        "gmp_90",
    ),
    Method(
        "PruneAtStart(sparsity, criterion=...)",
        "chosen once: SNIP, GraSP, SynFlow, magnitude",
        "Lee 2019, Wang 2020, Tanaka 2020",
        "3 f",
        None,
    ),
    Method(
        "DynamicSparseTraining(sparsity, drop=..., grow=...)", "any other pair of scores", "", "by the scores", None
    ),
    Method("SparseGroups([...])", "several methods for parts of one network", "", "as its methods", None),
]


def method_table(rows_of: Path, network: str) -> str:
    """Return a table of Markdown, with the measured columns of ``<network>_<run>`` where there are rows."""
    rows = read_rows(rows_of)
    runs = by_config(rows, "test_acc")
    words = ["callback", "mask", "paper", "FLOPs of a training step"]
    header = [*words, "accuracy, %", "of training, of dense"] if rows else words
    lines = []
    for method in METHODS:
        code = f"`{method.callback}`" if "(" in method.callback else method.callback
        cells = [code, method.mask, method.paper, method.cost]
        measured: list[Row] = [] if method.run is None else runs.get(f"{network}_{method.run}".rstrip("_"), [])
        if rows:
            cells += (
                [f"{100 * mean(measured, 'test_acc'):.2f}", f"{mean(measured, 'train_ratio'):.3f}"]
                if measured
                else ["", ""]
            )
        lines.append(cells)
    note = (
        "f: a forward pass at the sparsity of the mask, or dense; gradients of activations and of weights cost as much."
    )
    if rows:
        steps = distinct(rows, "steps")
        seeds = " or ".join(sorted({str(len(runs_of)) for runs_of in runs.values()}))
        note += (
            f" Accuracy: ResNet-20 on CIFAR-10 at 90 % (ERK; NM: 1 of 8), {steps} steps of 128 images, a short run, "
            f"mean of {seeds} seeds; [all rows](experiments/results/{rows_of.stem}.md)."
        )
    return "\n".join([table(header, lines, left=words), "", note])
