"""The numbers of rows and vectors that the kernels compute at once."""

from __future__ import annotations

from typing import Any

DENSE_ROWS = 3
MAX_TILE = 8  # neighbouring vectors
TILES = (1, 2, 4, 8)  # the sizes of tiles of kernels that are not compiled for every size up to MAX_TILE


def first_row(rows: Any, chunk: Any, chunks: Any) -> Any:
    """Return the first row of a chunk, if ``rows`` are split into ``chunks``; it is a multiple of ``DENSE_ROWS``."""
    return DENSE_ROWS * (-(-rows // DENSE_ROWS) * chunk // chunks)
