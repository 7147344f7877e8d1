"""The page of the LeNet-5 study: every table from the committed rows, the paper's value beside ours."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from ..pages.markdown import table
from ..run.rows import read_rows
from . import published
from .arms import ARMS
from .claims import CLAIMS, Row, Tables, judge
from .names import INITIALIZATIONS, arm_name
from .solutions import distance_section, interpolation_section, similarity_section

PAPER_ACCURACY = {"pruned": "diff. pruned", "prune-restart": "prune restart"}
SEEDS = 5
LAST_TICKET = [arm for arm in ARMS if arm.name.startswith("lottery-")][-1]


def lenet5_page(results: Path) -> str:
    """Return the whole page, made from the CSV files in ``results``."""
    runs = read_rows(results / "runs.csv")
    names = ("runs", "similarity", "interpolation", "gradient_change")
    sections = [
        _head(runs),
        claims_section({name: read_rows(results / f"{name}.csv") for name in names}),
        accuracy_section(runs),
        signal_section(read_rows(results / "signal.csv")),
        similarity_section(read_rows(results / "similarity.csv")),
        curve_section(
            "Gradient flow",
            "Norm of the active gradient on the first 1,000 training images; mean over runs, failed ones included.",
            "gradient_norm",
            published.GRADIENT_NORM,
            read_rows(results / "gradient_norm.csv"),
            "norm",
        ),
        curve_section(
            "What a mask update does to it",
            "Norm after the update minus norm before it, on the same images and with the same other weights.",
            "gradient_change",
            published.GRADIENT_CHANGE,
            read_rows(results / "gradient_change.csv"),
            "change",
        ),
        interpolation_section(read_rows(results / "interpolation.csv")),
        distance_section(read_rows(results / "distances.csv"), read_rows(results / "map.csv")),
        hessian_section(read_rows(results / "hessian.csv")),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(runs: Sequence[Row]) -> str:
    whole = [row for row in runs if not row["arm"].endswith("-hessian")]
    planned = sum(arm.seeds or SEEDS for arm in ARMS)
    minutes = statistics.median(float(row["minutes"]) for row in whole)
    return "\n".join(
        [
            "# LeNet-5 on MNIST at 95 % sparsity: the paper's study, run again",
            "",
            "Generated from the CSV files in [lenet5/](lenet5) by `make results`; the runs by",
            "`python -m experiments paper lenet5 --seeds 5`. All 60,000 training images; every sparse arm starts with",
            "the masks of a gradually pruned run (95 % of every layer). A run *failed* when its test accuracy stayed",
            "below 20 %: it says the same digit to everything.",
            "",
            *(
                [f"**Not finished: {len(runs)} of {planned} runs so far, on which the verdicts below rest.**", ""]
                if len(runs) < planned
                else []
            ),
            f"{len(whole)} runs of {'/'.join(sorted({row['steps'] for row in whole}))} steps, "
            f"median {minutes:.1f} minutes of one core each. "
            f"Commit {', '.join(sorted({row['commit'] for row in runs}))}; "
            f"{'; '.join(sorted({row['versions'] for row in runs}))}; "
            f"{'; '.join(sorted({row['machine'] for row in runs}))}.",
        ]
    )


def claims_section(tables: Tables) -> str:
    """Return the section that holds the paper's claims against the rows."""
    body = [[claim.text, *judge(claim, tables)] for claim in CLAIMS]
    return "\n".join(["## Does it reproduce?", "", table(["the paper", "here", ""], body)])


def accuracy_section(runs: Sequence[Row]) -> str:
    """Return the section of test accuracies by arm, with failures counted."""
    rows = []
    for arm in ARMS:
        own = [row for row in runs if row["arm"] == arm.name]
        if own and not arm.spectra:
            rows.append([arm_name(arm.name), *_scores(own), _published(PAPER_ACCURACY.get(arm.name))])
        if arm is LAST_TICKET and (tickets := [row for row in runs if row["arm"].startswith("lottery-")]):
            rows.append(["lottery, all tickets", *_scores(tickets), _published("lottery")])
    header = ["arm", "runs", "failed", "mean +- std, %", "median", "mean without failed", "paper"]
    note = (
        "The paper's numbers for SET, RigL and the initializations are in a table that could not be had; its runs of "
        f"*scratch* are {_published('scratch')} (one initialization) and {_published('scratch (diff. init)')}, the "
        f"pruned run of its tickets {published.PRUNED_ACCURACY:.2f}."
    )
    return "\n".join(["## Test accuracy", "", table(header, rows), "", note])


def _scores(rows: Sequence[Row]) -> list[str]:
    scores = [100 * float(row["test_acc"]) for row in rows]
    trained = [100 * float(row["test_acc"]) for row in rows if row["failed"] == "0"]
    return [
        str(len(rows)),
        str(sum(int(row["failed"]) for row in rows)),
        f"{statistics.mean(scores):.2f} +- {statistics.pstdev(scores):.2f}",
        f"{statistics.median(scores):.2f}",
        f"{statistics.mean(trained):.2f}" if trained else "-",
    ]


def _published(group: str | None) -> str:
    if group is None:
        return "-"
    mean, std = published.SIMILARITY[group][:2]
    return f"{mean:.2f} +- {std:.2f}"


def signal_section(rows: Sequence[Row]) -> str:
    """Return the section of signals at initialization."""
    if not rows:
        return ""
    sparsities = list(published.SIGNAL["dense"])
    body = []
    for initialization, theirs in published.SIGNAL.items():
        ours = {float(row["sparsity"]): row["sigma"] for row in rows if row["initialization"] == initialization}
        body.append([INITIALIZATIONS[initialization], *(ours.get(sparsity, "-") for sparsity in sparsities)])
        body.append(["*paper*", *(f"{theirs[sparsity]:g}" for sparsity in sparsities)])
    what = (
        f"Standard deviation of LeNet-5's outputs (3 input channels) for 500 standard normal inputs, mean over "
        f"{rows[0]['seeds']} seeds, under masks that take most from the first units of each layer. *Dense* is "
        "Glorot-uniform here and in the paper, *Liu et al.* is that over the root of the density; the paper's code "
        "leaves the weights as they are at sparsity 0."
    )
    header = ["sparsity", *(f"{sparsity:g}" for sparsity in sparsities)]
    return "\n".join(["## Signal propagation at initialization", "", what, "", table(header, body)])


def curve_section(
    title: str,
    what: str,
    figure: str,
    paper: dict[str, dict[int, float]],
    rows: Sequence[Row],
    column: str,
) -> str:
    """Return a section of measured values beside the paper's, at the steps for which the paper's are known."""
    if not rows:
        return ""
    steps = sorted({step for curve in paper.values() for step in curve})
    body = []
    for arm, curve in paper.items():
        means = []
        for step in steps:
            own = [float(row[column]) for row in rows if row["arm"] == arm and int(row["step"]) == step]
            means.append(f"{statistics.mean(own):.2f}" if own else "-")
        if any(mean != "-" for mean in means):
            body.append([arm_name(arm), *means])
            body.append(["*paper*", *(f"{curve[step]:.2f}" if step in curve else "-" for step in steps)])
    header = ["step", *map(str, steps)]
    return "\n".join([f"## {title}", "", what, "", table(header, body), "", f"![{title}](lenet5/{figure}.png)"])


def hessian_section(rows: Sequence[Row]) -> str:
    """Return the section of eigenvalues before and after mask updates."""
    if not rows:
        return ""
    body = []
    pairs: dict[tuple[str, str], dict[str, Row]] = {(row["arm"], row["step"]): {} for row in rows}
    for row in rows:
        pairs[row["arm"], row["step"]][row["when"]] = row
    for (arm, step), by_time in sorted(pairs.items(), key=lambda pair: (pair[0][0], int(pair[0][1]))):
        before, after = by_time["before_update"], by_time["after_update"]
        values = [f"{before[k]} -> {after[k]}" for k in ("smallest", "largest", "negative")]
        body.append([arm_name(arm.replace("-hessian", "-unit")), step, *values, before["dimensions"]])
    what = (
        "Exact Hessian of the loss on the first 1,000 training images over active weights and biases, before and after "
        "a mask update; an eigenvalue counts as negative beyond one millionth of the largest. The paper's figure has "
        "no values that could be read; its claim is that RigL's updates bring new negative eigenvalues, while those of "
        "SET and inverted RigL barely do."
    )
    header = ["arm", "step", "smallest", "largest", "negative", "of"]
    return "\n".join(["## Hessian around mask updates", "", what, "", table(header, body)])
