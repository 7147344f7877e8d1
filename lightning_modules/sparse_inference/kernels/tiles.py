"""How many rows and vectors the kernels do at once."""

from __future__ import annotations

from typing import Any

DENSE_ROWS = 3
MAX_TILE = 8  # vectors, neighbours of one another
TILES = (1, 2, 4, 8)  # where fewer versions are worth more than every size


def first_row(rows: Any, chunk: Any, chunks: Any) -> Any:
    """Of some rows, the first of a task that does one of ``chunks`` of them: in threes, as dense ones are done."""
    return DENSE_ROWS * (-(-rows // DENSE_ROWS) * chunk // chunks)
