"""Distances at which runs began and ended from the pruned solution: of lotteries on disk, and of the paper's study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from callbacks import Ticket
from callbacks.files.safe_files import read_checkpoint

from ..analysis import l2_distances
from ..run.rows import read_rows


def find_distances(folder: Path) -> list[dict[str, Any]]:
    """Return rows ``label``, ``start``, ``end`` of all lotteries at or below a folder, and of all distances.csv."""
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.rglob("ticket.ckpt")):
        rows += _ticket_distances(path)
    for path in sorted(folder.rglob("distances.csv")):
        read = read_rows(path)
        if read and {"arm", "start", "end"} <= read[0].keys():
            rows += [{"label": row["arm"], "start": float(row["start"]), "end": float(row["end"])} for row in read]
    return rows


def _ticket_distances(path: Path) -> list[dict[str, Any]]:
    """Return distances from the weights that the ticket's mask left of the run that was pruned first."""
    ticket = Ticket.read(path)
    lottery = path.parents[2]
    if not (lottery / "pretrain" / "end.ckpt").is_file():
        return []
    pruned = dict(read_checkpoint(lottery / "pretrain" / "end.ckpt")["state_dict"])
    for name, mask in ticket.masks.items():
        pruned[name] = pruned[name] * mask
    names = list(ticket.masks)
    label = f"{lottery.name}, level {ticket.level}, {ticket.retraining}"
    rows = []
    for end in ticket.trained:
        table = l2_distances([pruned, ticket.weights, read_checkpoint(end)["state_dict"]], names)
        rows.append({"label": label, "start": float(table[0, 1]), "end": float(table[0, 2])})
    return rows
