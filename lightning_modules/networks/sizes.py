"""Sizes of a network: how a width multiplier rounds, and which sizes are refused."""

from __future__ import annotations

import math


def scaled(channels: int, width: float) -> int:
    """Return ``channels * width``, rounded down as the paper's released code does.

    Raises:
        ValueError: nothing is left of the channels, or ``width`` is not a finite number.

    Example:
        >>> scaled(64, 0.465)
        29
    """
    if not math.isfinite(width) or int(channels * width) < 1:
        raise ValueError(
            f"width is {width}; for the layers of {channels} channels it is a finite number of at least {1 / channels}"
        )
    return int(channels * width)


def check_positive(**sizes: int) -> None:
    """Refuse sizes below 1.

    Raises:
        ValueError: a size is below 1; the message has the name that it was passed under.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}; it is at least 1")
