"""Tables in the terminal: those at the end of a run, and how tables of numbers look."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Column, Table
from torch import Tensor, nn

from callbacks import TrainingFlops
from callbacks.sparsity import Masks, storage_bytes


def number_table(title: str, first: str, *others: str) -> Table:
    """Return a table without rows, whose columns are aligned to the right but for the first."""
    return Table(first, *(Column(name, justify="right") for name in others), title=title)


def sparsity_table(masks: Mapping[str, Tensor]) -> Table:
    """Draw shape, sparsity and active weights of every sparse layer, and their total."""
    table = Table(title="Sparse weights")
    table.add_column("layer", min_width=max(map(len, masks), default=0))
    for column in ("shape", "sparsity", "active", "all"):
        table.add_column(column, justify="right")
    total_active = total = 0
    for name, mask in masks.items():
        active, size = int(mask.sum()), mask.numel()
        total_active, total = total_active + active, total + size
        shape = " x ".join(map(str, mask.shape))
        table.add_row(name, shape, f"{1 - active / size:.4f}", f"{active:,}", f"{size:,}")
    table.add_section()
    table.add_row("together", "", f"{1 - total_active / total:.4f}", f"{total_active:,}", f"{total:,}")
    return table


def cost_table(module: nn.Module, masks: Masks, counter: TrainingFlops) -> Table:
    """Draw the costs of the network beside those of a dense one: a sample's forward pass, training so far, storage."""
    assert counter.flops is not None
    rows = {
        "FLOPs of a forward pass": (counter.flops.sparse(masks.density), counter.flops.dense),
        "FLOPs of training": (counter.total, counter.dense),
        "bytes": (storage_bytes(module, masks.counts), storage_bytes(module, {})),
    }
    table = number_table("Costs", "", "this run", "dense", "ratio")
    for name, (cost, dense) in rows.items():
        table.add_row(name, f"{cost:.3e}", f"{dense:.3e}", f"{cost / dense:.3f}" if dense else "")
    return table
