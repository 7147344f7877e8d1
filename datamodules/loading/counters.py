"""Random bits from counters: those of a sample depend on seed, epoch and index, not on what was drawn before."""

from __future__ import annotations

from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15 - 2**64


def random_bits(seed: int, epochs: Tensor, indices: Tensor) -> Tensor:
    """64 random bits for each sample, the same on every device: int64 (B,).

    Args:
        seed: from 0 to 2**63 - 1.
        epochs: int64 (B,).
        indices: int64 (B,), the samples' places in the data set.

    Example:
        >>> import torch
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
    x = (x ^ _shift(x, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    x = (x ^ _shift(x, 27)) * (0x94D049BB133111EB - 2**64)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, places: int) -> Tensor:
    """Shifts right as if the numbers had no sign."""
    shifted: Tensor = (x >> places) & (2 ** (64 - places) - 1)
    return shifted
