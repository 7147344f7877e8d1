"""Sparse or dense, layer by layer: what the density says, and where it does not, the clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .graph.layers import Convolution
from .run.program import Stage

DENSE_FROM = 0.45  # density from which on dense weights are faster, where nothing is measured
UNSURE = (0.25, 0.8)  # densities below which skipping zeros is always faster, and above which it never is
ROUNDS = 4


@dataclass(frozen=True)
class Seconds:
    """What a layer takes with sparse and with dense weights."""

    sparse: float
    dense: float


def is_unsure(layer: Convolution) -> bool:
    """Whether a layer has to be measured."""
    low, high = UNSURE
    return low < layer.density < high


def compare(
    sparse: Sequence[Stage], dense: Sequence[Stage], names: Collection[str], threads: int, rounds: int = ROUNDS
) -> dict[str, Seconds]:
    """The least seconds of some layers, by turns either way.

    Args:
        sparse: stages with sparse weights.
        dense: the same stages with dense ones.
        names: of the layers.
        threads: that share the work.
        rounds: how often each is run.
    """
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one, other in zip(sparse, dense, strict=True):
        for name, number in one.weighted:
            if name in names:
                times = [(one.seconds(number, threads), other.seconds(number, threads)) for _ in range(rounds)]
                found[name].append((min(time for time, _ in times), min(time for _, time in times)))
    return {name: Seconds(sum(s for s, _ in each), sum(d for _, d in each)) for name, each in found.items()}
