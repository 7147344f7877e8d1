"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from torch import Tensor


def sparsity_table(masks: Mapping[str, Tensor]) -> Table:
    """Shape, sparsity and active weights of every sparse layer, and their total."""
    table = Table(title="Sparse weights")
    table.add_column("layer")
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
