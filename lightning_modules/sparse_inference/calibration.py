"""The choice of sparse or dense weights, layer by layer: by the density, and where that does not say, by the clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .graph.layers import Convolution
from .run.program import Program

DENSE_FROM = 0.45  # density from which on dense weights are faster, where nothing is measured
UNSURE = (0.25, 0.8)  # the densities below which skipping zeros is always faster, and above which it never is
ROUNDS = 4


@dataclass(frozen=True)
class Seconds:
    """The seconds that a layer takes with sparse and with dense weights."""

    sparse: float
    dense: float


def is_unsure(layer: Convolution) -> bool:
    """Return whether a layer has to be measured."""
    low, high = UNSURE
    return low < layer.density < high


def compare(
    sparse: Sequence[Program], dense: Sequence[Program], names: Collection[str], threads: int, rounds: int = ROUNDS
) -> dict[str, Seconds]:
    """Return the least seconds of some layers, which are run by turns either way.

    Args:
        sparse: programs with sparse weights.
        dense: the same programs with dense weights.
        names: the names of the layers.
        threads: how many threads share the work.
        rounds: how often each layer is run.
    """
    fastest: dict[str, list[tuple[float, float]]] = defaultdict(list)  # a layer may run several times in a network
    for with_sparse, with_dense in zip(sparse, dense, strict=True):
        for name, number in with_sparse.weighted:
            if name in names:
                times = [
                    [program.seconds(number, threads) for program in (with_sparse, with_dense)] for _ in range(rounds)
                ]
                fastest[name].append((min(time for time, _ in times), min(time for _, time in times)))
    return {name: Seconds(sum(s for s, _ in each), sum(d for _, d in each)) for name, each in fastest.items()}
