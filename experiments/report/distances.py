"""Distances at which runs began and ended from the pruned solution: of lotteries on disk, and of the paper's study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from callbacks import Ticket
from callbacks.files.safe_files import read_checkpoint

from ..analysis import l2_distances
from ..run.command import one_line
from ..run.rows import read_rows


def find_distances(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return rows ``label``, ``start``, ``end`` of all lotteries at or below a folder, and of all distances.csv.

    Files that cannot be read are left out, with a sentence each.
    """
    rows: list[dict[str, Any]] = []
    notes = []
    for name, read in ("ticket.ckpt", _ticket_distances), ("distances.csv", _study_distances):
        for path in sorted(folder.rglob(name)):
            try:
                rows += read(path)
            except (ValueError, KeyError, RuntimeError) as error:
                notes.append(f"{path}: its distances are left out, {one_line(error)}")
    return rows, notes


def _study_distances(path: Path) -> list[dict[str, Any]]:
    """Return the distances in a file of the paper's study; none if it is of something else."""
    read = read_rows(path)
    if not read or not {"arm", "start", "end"} <= read[0].keys():
        return []
    return [{"label": row["arm"], "start": float(row["start"]), "end": float(row["end"])} for row in read]


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
