"""The sections of the study's page on solutions: what they predict, where they lie, and what lies between them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ..analysis import barrier
from ..pages.markdown import table
from . import published
from .claims import Row
from .names import arm_name


def similarity_section(rows: Sequence[Row]) -> str:
    """Return the section on function space, which tells whether runs of a group find the same solution."""
    if not rows:
        return ""
    body = []
    for row in rows:
        ours = [
            f"{row['accuracy']} +- {row['accuracy_std']}",
            row["ensemble"],
            f"{float(row['ensemble']) - float(row['accuracy']):+.2f}",
            f"{row['disagreement']} +- {row['disagreement_std']}",
            f"{row['disagreement_pruned']} +- {row['disagreement_pruned_std']}",
            row["kl"],
            row["js"],
        ]
        body.append([row["group"], row["runs"], *ours])
    for group, values in published.SIMILARITY.items():
        mean, std, ensemble, pairs, pairs_std, pruned, pruned_std = values
        theirs = [f"{mean:.2f} +- {std:.2f}", f"{ensemble:.2f}", f"{ensemble - mean:+.2f}"]
        theirs += [f"{pairs:.4f} +- {pairs_std:.4f}", f"{pruned:.4f} +- {pruned_std:.4f}", "-", "-"]
        body.append([f"*paper: {group}*", "5", *theirs])
    header = ["group", "runs", "accuracy", "ensemble", "gain", "disagreement", "with pruned", "KL", "JS"]
    note = (
        "Runs that trained. Pairs of runs of a group, and each run against the pruned solution whose masks it began "
        "with (pruned ones against the first of them); natural logarithms. Runs of a lottery ticket, of *scratch* and "
        "of *prune restart* differ in data order alone. "
        "*scratch* has the sparsity-aware initialization."
    )
    return "\n".join(["## Function space", "", table(header, body), "", note])


def interpolation_section(rows: Sequence[Row]) -> str:
    """Return the section on the loss between runs and the pruned solution."""
    if not rows:
        return ""
    lines: dict[tuple[str, str, str], dict[float, float]] = {}
    for row in rows:
        lines.setdefault((row["arm"], row["seed"], row["from"]), {})[float(row["alpha"])] = float(row["loss"])
    alphas = list(published.INTERPOLATION["lottery end"])
    body = []
    for (arm, seed, kind), line in lines.items():
        height = barrier(list(line.values()), list(line))
        name = f"{arm_name(arm)}, seed {seed}, {kind}"
        body.append([name, *(f"{line[alpha]:.3f}" for alpha in alphas), f"{height:.3f}"])
    for name, line in published.INTERPOLATION.items():
        height = barrier(list(line.values()), list(line))
        body.append([f"*paper: {name}*", *(f"{line[alpha]:.3f}" for alpha in alphas), f"{height:.3f}"])
    images = sorted({f"{int(row['images']):,}" for row in rows})
    what = (
        f"Cross-entropy on {'/'.join(images)} training images at (1 - a) times a run's start or end plus a times the "
        "pruned solution with the same masks. The barrier is the highest loss between 0 and 1 above the worse end."
    )
    header = ["a", *(f"{alpha:g}" for alpha in alphas), "barrier"]
    picture = "![Loss between solutions](lenet5/interpolation.png)"
    return "\n".join(["## Loss between solutions", "", what, "", table(header, body), "", picture])


def distance_section(distances: Sequence[Row], points: Sequence[Row]) -> str:
    """Return the section on weight space: how far from the pruned solution runs start and end."""
    if not distances:
        return ""
    body = []
    for arm in dict.fromkeys(row["arm"] for row in distances):
        own = [row for row in distances if row["arm"] == arm]
        means = [statistics.mean(float(row[kind]) for row in own) for kind in ("start", "end")]
        body.append([arm_name(arm), str(len(own)), *(f"{mean:.1f}" for mean in means)])
    what = (
        "L2 distance to the pruned solution whose masks a run began with, mean over runs that trained. The paper shows "
        "a map alone (multidimensional scaling), on which the lottery start lies 12.2 from the pruned solution, "
        "lottery ends 5.4 to 7.7, scratch starts 15.8 to 17.5 and scratch ends 19 to 32."
    )
    picture = ["", "![Map of solutions](lenet5/map.png)"] if points else []
    return "\n".join(["## Weight space", "", what, "", table(["arm", "runs", "start", "end"], body), *picture])
