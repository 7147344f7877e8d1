"""The highest scores, found one at a time."""

from __future__ import annotations

import numpy as np


def reference_top_k(score: np.ndarray, k: int, among: np.ndarray) -> np.ndarray:
    """One at a time, highest first, lower index first on ties."""
    order = sorted(np.flatnonzero(among), key=lambda i: (-score[i], i))
    chosen = np.zeros(len(score), dtype=bool)
    chosen[order[:k]] = True
    return chosen
