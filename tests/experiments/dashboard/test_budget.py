import itertools

import pytest

from experiments.dashboard.budget import TimeBudget
from experiments.dashboard.history import COLUMNS, History


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_share_of_the_time_is_never_exceeded_by_what_costs_as_before() -> None:
    clock = Clock()
    budget = TimeBudget(0.01, clock)
    drawn = []
    for second in range(1000):
        clock.seconds = float(second)
        if budget.affords("pictures"):
            with budget.spend("pictures"):
                clock.seconds += 2.0
            drawn.append(second)
        assert second < 200 or budget.spent <= 0.01 * clock.seconds + 0.02
    assert drawn == [0, 400, 600, 800]  # the first, of unknown cost, is paid off before there is another


def test_what_fails_is_paid_for_too() -> None:
    clock = Clock()
    budget = TimeBudget(0.5, clock)

    def fail() -> None:
        with budget.spend("pictures"):
            clock.seconds += 3.0
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert budget.spent == 3.0
    assert not budget.affords("flow")


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share is"):
        TimeBudget(share)


def test_a_long_history_keeps_its_ends_and_even_distances() -> None:
    history = History(every=50)
    measured = 0
    for step in range(100_000):
        if history.due(step):
            history.add(step, {"a": float(step)})
            measured += 1
    steps = history.steps
    assert measured > len(steps)
    assert COLUMNS // 2 <= len(steps) <= COLUMNS
    assert {b - a for a, b in itertools.pairwise(steps)} == {history.every}
    assert (history.names, history.rows) == (["a"], [[float(step) for step in steps]])
