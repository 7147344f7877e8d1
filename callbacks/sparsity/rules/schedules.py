"""Schedules: how a number changes over a run, and when a mask is updated."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass


class Schedule(ABC):
    """A number that changes over the run, for example the drop fraction."""

    @abstractmethod
    def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
        """Return the value at ``progress``.

        Args:
            progress: the share of the time that is over, from 0 at the first step to 1 at the end of the update window.
            lr_ratio: current learning rate over the highest one.
        """


@dataclass(frozen=True)
class Constant(Schedule):
    """A number that stays ``value`` throughout."""

    value: float

    def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
        return self.value


@dataclass(frozen=True)
class Cosine(Schedule):
    """A number that falls from ``initial`` to 0 along half a cosine: initial / 2 * (1 + cos(pi * progress)).

    Reference:
        Evci et al. 2020 (RigL), section 3, "Update schedule".
    """

    initial: float

    def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
        return self.initial / 2 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class InversePower(Schedule):
    """A number that falls from ``initial`` to 0: initial * (1 - progress) ** power; power 1 is linear."""

    initial: float
    power: float = 3.0

    def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
        return float(self.initial * (1 - progress) ** self.power)


@dataclass(frozen=True)
class LinearDecay(Schedule):
    """A number that goes from ``initial`` to ``final`` along a straight line."""

    initial: float
    final: float = 0.0

    def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
        return self.initial + (self.final - self.initial) * progress


@dataclass(frozen=True)
class Cubic(Schedule):
    """A number that goes from ``initial`` to ``final``, fast first: final + (initial - final) * (1 - progress) ** 3.

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
    """A number in proportion to the learning rate: ``initial`` times the rate over its highest value.

    Reference:
        Used for LeNet-5 in the released code of Evci et al. 2022.
    """

    initial: float

    def __call__(self, progress: float, lr_ratio: float = 1.0) -> float:
        return self.initial * lr_ratio


@dataclass(frozen=True)
class UpdateWindow:
    """The time in which a mask is updated: every ``every`` optimizer steps while start <= step < stop.

    Args:
        every: optimizer steps between two updates, at least 1 (Delta T of the papers).
        start: the first step. An int counts optimizer steps, a float is a fraction of the run, in [0, 1].
        stop: the end, which is not included, given like ``start``: 1.0 is that of the run.

    Raises:
        ValueError: ``every`` is below 1; not 0 <= start < stop; a float is above 1; or a time is the int 0 or 1, which
            this release refuses because earlier ones took them for fractions.

    Example:
        >>> window = UpdateWindow(100, stop=0.75)
        >>> [step for step in range(0, 501, 50) if window.due(step, total=500)]
        [100, 200, 300]
    """

    every: int = 100
    start: int | float = 0.0
    stop: int | float = 0.75

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"UpdateWindow.every is {self.every}; it counts optimizer steps, 1 or more")
        for name in ("start", "stop"):
            object.__setattr__(self, name, _checked_time(f"{type(self).__name__}.{name}", getattr(self, name)))
        if not self.start >= 0 or not self.stop > 0:
            raise ValueError(f"UpdateWindow needs 0 <= start and 0 < stop, not {self.start}, {self.stop}")
        if (self.start <= 1) == (self.stop <= 1) and self.start >= self.stop:
            raise ValueError(f"UpdateWindow.start {self.start} is not below its stop {self.stop}")

    def due(self, step: int, total: float) -> bool:
        """Return whether to update after ``step`` optimizer steps of ``total``; never before the first."""
        start, stop = self.bounds(total)
        return step > 0 and step % self.every == 0 and start <= step < stop

    def progress(self, step: int, total: float) -> float:
        """Return how much of the way from the first step to the end of the window is done, in [0, 1]."""
        return min(step / self.bounds(total)[1], 1.0)

    def bounds(self, total: float) -> tuple[float, float]:
        """Return ``start`` and ``stop`` in steps.

        Raises:
            ValueError: a bound is a fraction of a run without an end, or start is not below stop in this run.
        """
        if math.isinf(total) and (_is_fraction(self.start) or _is_fraction(self.stop)):
            raise ValueError(
                f"{self} is a fraction of the run, but the Trainer has no end: "
                "set max_steps or max_epochs, or give start and stop in steps"
            )
        start = self.start * total if _is_fraction(self.start) else self.start
        stop = self.stop * total if _is_fraction(self.stop) else self.stop
        if start >= stop:
            raise ValueError(f"{self} starts at step {start:g} and stops at {stop:g} of this run: it never opens")
        return start, stop


def _is_fraction(time: float) -> bool:
    """Return whether a time is a share of the run; 0.0 and infinity are times of any run."""
    return isinstance(time, float) and 0 < time <= 1


def _checked_time(argument: str, time: float) -> float:
    """Return a time of a run: an int of optimizer steps, or a float that is a fraction of the run.

    Raises:
        ValueError: ``argument``, as errors call it, is the int 0 or 1, or a float above 1.
    """
    if isinstance(time, int) and time in (0, 1):
        fraction = "0.0 for the beginning of the run" if time == 0 else "1.0 for the whole run"
        step = ", or for step 1 its share of the run, such as 1 / 500 of 500 steps" if time == 1 else ""
        raise ValueError(
            f"{argument} is the int {time}, which earlier releases took for a fraction of the run, while ints are to "
            f"count optimizer steps: write {fraction}{step}"
        )
    if isinstance(time, float) and 1 < time < math.inf:
        if not time.is_integer():
            raise ValueError(
                f"{argument} is {time}; a float is a fraction of the run, up to 1.0: write an int for optimizer steps"
            )
        # earlier releases wrote steps as floats into the config.yaml of a run
        warnings.warn(
            f"{argument} is {time}, which will be an error in the next release; use the int {int(time)} for optimizer "
            "steps",
            DeprecationWarning,
            stacklevel=4,
        )
        return int(time)
    return time


@dataclass(frozen=True)
class PruningWindow(UpdateWindow):
    """The time in which weights are pruned: every ``every`` optimizer steps from ``start`` on, and at ``stop`` itself.

    Unlike :class:`UpdateWindow` it counts from ``start`` and includes ``stop``, so that the last update
    reaches the final sparsity whether or not ``every`` divides the way.

    Args:
        every: optimizer steps between two updates, at least 1.
        start: the step of the first update. An int counts optimizer steps, a float is a fraction of the run, in
            [0, 1], and is rounded to a whole step.
        stop: the step of the last update, given like ``start``: 1.0 is the last step of the run.

    Raises:
        ValueError: as :class:`UpdateWindow`; in :meth:`bounds`, when ``stop`` steps are more than the run has.

    Reference:
        Zhu and Gupta 2017, equation 1. Evci et al. 2022 prune LeNet-5 at steps 3000, 3100, ..., 7000.

    Example:
        >>> window = PruningWindow(100, start=0.25, stop=0.6)
        >>> [step for step in range(1000) if window.due(step, total=1000)]
        [250, 350, 450, 550, 600]
    """

    every: int = 100
    start: int | float = 0.25
    stop: int | float = 0.75

    def due(self, step: int, total: float) -> bool:
        """Return whether to update after ``step`` optimizer steps of ``total``; also before the first."""
        first, last = self.bounds(total)
        return first <= step <= last and ((step - first) % self.every == 0 or step == last)

    def progress(self, step: int, total: float) -> float:
        """Return how much of the way from the first to the last update is done, in [0, 1]."""
        first, last = self.bounds(total)
        return 1.0 if step >= last else max((step - first) / (last - first), 0.0)

    def bounds(self, total: float) -> tuple[float, float]:
        """Return the whole steps of the first and the last update, neither after the last step of the run."""
        start, stop = super().bounds(total)
        if stop > total:
            raise ValueError(
                f"{self} ends after the run of {total:g} steps, whose final sparsity would not be reached: "
                "lengthen the run, or give start and stop as fractions of it"
            )
        steps = total if math.isinf(total) else math.floor(total)
        last = max(min(round(stop), steps - 1), 0)
        return min(round(start), last), last
