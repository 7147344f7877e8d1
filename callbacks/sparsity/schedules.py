"""Schedules: how a number changes over a run, and when a mask is updated."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass


class Schedule(ABC):
    """A number that changes over the run, for example the drop fraction."""

    @abstractmethod
    def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
        """The value at ``progress``.

        Args:
            progress: from 0 at the first step to 1 at the end of the update window.
            lr_ratio: current learning rate over the highest one.
        """


@dataclass(frozen=True)
class Constant(Schedule):
    """``value`` throughout."""

    value: float

    def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
        return self.value


@dataclass(frozen=True)
class Cosine(Schedule):
    """From ``initial`` to 0 along half a cosine: initial / 2 * (1 + cos(pi * progress)).

    Reference:
        Evci et al. 2020 (RigL), section 3, "Update schedule".
    """

    initial: float

    def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
        return self.initial / 2 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class InversePower(Schedule):
    """From ``initial`` to 0: initial * (1 - progress) ** power; power 1 is linear."""

    initial: float
    power: float = 3.0

    def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
        return float(self.initial * (1 - progress) ** self.power)


@dataclass(frozen=True)
class Linear(Schedule):
    """From ``initial`` to ``final`` along a straight line."""

    initial: float
    final: float = 0.0

    def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
        return self.initial + (self.final - self.initial) * progress


@dataclass(frozen=True)
class Cubic(Schedule):
    """From ``initial`` to ``final``, fast first: final + (initial - final) * (1 - progress) ** 3.

    Reference:
        Zhu and Gupta 2017, equation 1: the sparsity of gradual magnitude pruning.

    Example:
        >>> round(Cubic(0.0, 0.8)(0.5), 6) == round(0.875 * 0.8, 6)
        True
    """

    initial: float
    final: float

    def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
        return self.final + (self.initial - self.final) * (1 - progress) ** 3


@dataclass(frozen=True)
class ProportionalToLR(Schedule):
    """``initial`` times the learning rate over its highest value.

    Reference:
        Used for LeNet-5 in the released code of Evci et al. 2022.
    """

    initial: float

    def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
        return self.initial * lr_ratio


@dataclass(frozen=True)
class UpdateWindow:
    """When a mask is updated: every ``every`` optimizer steps while start <= step < stop.

    Args:
        every: optimizer steps between two updates, at least 1 (Delta T of the papers).
        start: first step; up to 1 a fraction of the run, above 1 a number of steps.
        stop: end, not included; read like ``start``. 1.0 is the whole run.

    Raises:
        ValueError: ``every`` is below 1, or not 0 <= start < stop.

    Example:
        >>> window = UpdateWindow(100, stop=0.75)
        >>> [step for step in range(0, 501, 50) if window.due(step, total=500)]
        [100, 200, 300]
    """

    every: int = 100
    start: float = 0.0
    stop: float = 0.75

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"UpdateWindow.every is {self.every}; it counts optimizer steps, 1 or more")
        if not self.start >= 0 or self.stop <= 0:
            raise ValueError(f"UpdateWindow needs 0 <= start and 0 < stop, not {self.start}, {self.stop}")
        if (self.start <= 1) == (self.stop <= 1) and self.start >= self.stop:
            raise ValueError(f"UpdateWindow.start {self.start} is not below its stop {self.stop}")

    def due(self, step: int, total: float) -> bool:
        """Whether to update after ``step`` optimizer steps of ``total``; never before the first."""
        start, stop = self.bounds(total)
        return step > 0 and step % self.every == 0 and start <= step < stop

    def progress(self, step: int, total: float) -> float:
        """How much of the way from the first step to the end of the window is done, in [0, 1]."""
        return min(step / self.bounds(total)[1], 1.0)

    def bounds(self, total: float) -> tuple[float, float]:
        """``start`` and ``stop`` in steps.

        Raises:
            ValueError: a bound is a fraction of a run without an end.
        """
        if math.isinf(total) and (0 < self.start <= 1 or self.stop <= 1):
            raise ValueError(
                f"{self} is a fraction of the run, but the Trainer has no end: "
                "set max_steps or max_epochs, or give start and stop in steps"
            )
        start = self.start * total if 0 < self.start <= 1 else self.start
        return start, self.stop * total if self.stop <= 1 else self.stop
