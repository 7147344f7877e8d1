"""The tables at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from torch import Tensor, nn

from callbacks import TrainingFlops
from callbacks.sparsity import Masks, storage_bytes


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
    table = Table(title="Costs")
    for column in ("", "this run", "dense", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    for name, (cost, dense) in rows.items():
        table.add_row(name, f"{cost:.3e}", f"{dense:.3e}", f"{cost / dense:.3f}" if dense else "")
    return table
