"""Random numbers from counters: what is drawn depends on the numbers given, not on what was drawn before.

Each library takes another kind of randomness, so there are several kinds; all that the data modules draw begins here.
"""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15 - 2**64


def numpy_generator(*counters: int) -> np.random.Generator:
    """Return numpy's generator for some counters, each of 0 or more.

    Example:
        >>> numpy_generator(0, 3, 5).integers(100, size=3)
        array([31, 35, 53])
    """
    return np.random.default_rng(counters)


def python_generator(*counters: int) -> random.Random:
    """Return Python's generator for some counters, which its seed spells out in decimal.

    Example:
        >>> python_generator(0, 3, 5).randrange(100)
        77
    """
    return random.Random(" ".join(map(str, counters)))


def torch_generator(seed: int) -> torch.Generator:
    """Return torch's generator for one counter."""
    return torch.Generator().manual_seed(seed)


def random_bits(seed: int, epochs: Tensor, indices: Tensor) -> Tensor:
    """Return 64 random bits for each sample of a batch, the same on every device: int64 (B,).

    Args:
        seed: from 0 to 2**63 - 1.
        epochs: int64 (B,).
        indices: int64 (B,), the samples' positions in the data set.

    Example:
        >>> random_bits(0, torch.tensor([0, 0, 1]), torch.tensor([5, 6, 5])) % 100
        tensor([92, 37, 81])

    Reference:
        Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014: the step and finalizer of
        SplitMix64, applied to the three numbers in turn.
    """
    bits = _mix(indices * 0 + seed)
    for counter in epochs, indices:
        bits = _mix(bits ^ counter)
    return bits


def _mix(x: Tensor) -> Tensor:
    x = x + GOLDEN
    x = (x ^ _shift_right(x, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    x = (x ^ _shift_right(x, 27)) * (0x94D049BB133111EB - 2**64)
    return x ^ _shift_right(x, 31)


def _shift_right(x: Tensor, places: int) -> Tensor:
    """Shift numbers to the right as if they had no sign."""
    shifted: Tensor = (x >> places) & (2 ** (64 - places) - 1)
    return shifted
