"""The page of optimizers: what holds with each of them, and how weights that grow begin."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from ..run.rows import read_rows
from .markdown import table
from .result_rows import Row, distinct, origin_of


def optimizers_page(rows_of: Path, grown_of: Path) -> str:
    """Return a page of Markdown from the rows of both benches."""
    rows, grown = read_rows(rows_of), read_rows(grown_of)
    header = ["optimizer", "library", "masked weights", "state of dropped and grown weights", "first step", "largest"]
    lines = [
        "# Optimizers",
        "",
        f"Rows: [{rows_of.name}]({rows_of.name}), written by `python -m experiments bench optimizers`. A small "
        f"network learns for {distinct(rows, 'steps')} steps with SET, then a mask update grows weights at random, so "
        "that nothing but its state sets a grown weight apart. The last two columns are the mean step of grown weights "
        "over that of the weights of the same layers that stayed: of the first step, and the largest of 20.",
        "",
        table(header, map(_line, rows), left=header[:4]),
        "",
        origin_of(rows),
    ]
    return "\n".join([*lines, *(_grown_weights(grown, grown_of) if grown else []), ""])


def _line(row: Row) -> list[str]:
    """Return the cells of one optimizer."""
    start = [row["optimizer"], row["library"]]
    if row["refused"]:
        return [*start, f"refused: {row['refused']}", "", "", ""]
    zeros = "exactly 0" if row["outside"] == "0" else f"{row['outside']} are not 0"
    cleared = "as of a new parameter" if row["uncleared"] == "0" else f"{row['uncleared']} entries are kept"
    names = ", ".join(f"`{name}`" for name in row["states"].split())
    return [*start, zeros, f"{cleared}: {names}" if names else "none of an entry's own", row["first"], row["most"]]


def _grown_weights(rows: Sequence[Row], rows_of: Path) -> list[str]:
    """Return the section about the counters by which the bias of moments is corrected."""
    lines, best = [], {"layer": 0.0, "weight": 0.0}
    for lr in sorted({row["lr"] for row in rows}, key=float):
        cells = [f"{float(lr):g}"]
        for counters in best:
            scores = [100 * float(row["accuracy"]) for row in rows if (row["lr"], row["counters"]) == (lr, counters)]
            best[counters] = max(best[counters], statistics.mean(scores))
            cells += [f"{statistics.mean(scores):.2f}", ", ".join(f"{score:.2f}" for score in scores)]
        lines.append(cells)
    header = ["learning rate", "counters stay, %", "by seed", "a counter a weight, %", "by seed"]
    return [
        "",
        "## Counters of steps",
        "",
        "Adam and its like correct their moments for having begun at 0, by one counter of steps for all entries of a "
        "parameter. A mask update sets the moments of grown weights to 0, and the counter goes on: grown weights begin "
        "with larger steps than their neighbours. With a counter of its own each of them would begin as a new "
        f"parameter does. Test accuracy of both: RigL at 98 % with an update every 100 of {distinct(rows, 'steps')} "
        "steps, LeNet-300-100 on MNIST, AdamW:",
        "",
        table(header, lines),
        "",
        f"At the best rate of each, chosen by these same accuracies, it is {best['layer']:.2f} % with counters that "
        f"stay and {best['weight']:.2f} % with a counter a weight. Counters stay, although that is not the better of "
        "the two at every rate, because a run at AdamW's usual rate of 0.001 must not get worse.",
        "",
        f"Rows: [{rows_of.name}]({rows_of.name}), written by `python -m experiments bench grown-weights`. "
        f"{origin_of(rows)}",
    ]
