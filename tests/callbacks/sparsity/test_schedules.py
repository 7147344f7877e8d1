import math

import pytest

from callbacks.sparsity import (
    Constant,
    Cosine,
    Cubic,
    InversePower,
    LinearDecay,
    ProportionalToLR,
    PruningWindow,
    Schedule,
    UpdateWindow,
)

VALUES: list[tuple[Schedule, float, float]] = [
    (Constant(0.3), 0.0, 0.3),
    (Constant(0.3), 1.0, 0.3),
    (Cosine(0.3), 0.0, 0.3),
    (Cosine(0.3), 0.5, 0.15),  # RigL: alpha / 2 half way
    (Cosine(0.3), 1.0, 0.0),
    (LinearDecay(0.3), 0.25, 0.225),
    (LinearDecay(0.1, 0.5), 0.5, 0.3),
    (InversePower(0.4, 1.0), 0.25, 0.3),
    (InversePower(0.4), 0.5, 0.05),
    (Cubic(0.0, 0.95), 0.0, 0.0),
    (Cubic(0.0, 0.95), 0.5, 0.875 * 0.95),  # gradual pruning at its midpoint
    (Cubic(0.0, 0.95), 1.0, 0.95),
]


@pytest.mark.parametrize(("schedule", "progress", "value"), VALUES)
def test_golden_values(schedule: Schedule, progress: float, value: float) -> None:
    assert schedule(progress) == pytest.approx(value, abs=1e-12)


def test_proportional_to_the_learning_rate() -> None:
    assert ProportionalToLR(0.3)(0.9, lr_ratio=0.5) == pytest.approx(0.15)


def test_window_in_fractions_and_in_steps() -> None:
    fractions, steps = UpdateWindow(100, start=0.2, stop=0.75), UpdateWindow(100, start=200, stop=750)
    due = [step for step in range(1001) if fractions.due(step, 1000)]
    assert due == [200, 300, 400, 500, 600, 700]
    assert due == [step for step in range(1001) if steps.due(step, 1000)]
    assert [step for step in range(1001) if UpdateWindow(250, stop=1.0).due(step, 1000)] == [250, 500, 750]


def test_window_never_updates_before_the_first_step_and_stops_before_its_end() -> None:
    window = UpdateWindow(100, stop=0.5)
    assert not window.due(0, 1000)
    assert window.due(400, 1000)
    assert not window.due(500, 1000)


def test_progress_ends_with_the_window() -> None:
    window = UpdateWindow(100, stop=0.75)
    assert window.progress(375, 1000) == 0.5
    assert window.progress(900, 1000) == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every is 0"),
        ({"start": -0.1}, "0 <= start"),
        ({"stop": 0.0}, "0 < stop"),
        ({"start": 0.8, "stop": 0.5}, "start 0.8 is not below its stop 0.5"),
        ({"start": 500, "stop": 400}, "start 500 is not below its stop 400"),
        ({"start": 0}, "UpdateWindow.start is the int 0, .*: write 0.0 for the beginning of the run"),
        ({"start": 1}, "UpdateWindow.start is the int 1, .*: write 1.0 for the whole run, or for step 1 .*1 / 500"),
        ({"stop": 1}, "UpdateWindow.stop is the int 1, .*: write 1.0 for the whole run, or for step 1 .*1 / 500"),
        ({"stop": True}, "UpdateWindow.stop is the int True"),
        ({"stop": 1.5}, "UpdateWindow.stop is 1.5; a float is a fraction of the run, up to 1.0: write an int"),
        ({"stop": math.nan}, "0 < stop"),
    ],
)
def test_impossible_windows_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UpdateWindow(**arguments)  # type: ignore[arg-type]


def test_an_int_counts_steps_and_a_float_is_a_fraction() -> None:
    assert UpdateWindow(2, start=2, stop=6).bounds(100) == (2, 6)
    assert UpdateWindow(2, start=0.5, stop=1.0).bounds(100) == (50, 100)
    assert UpdateWindow(2, stop=math.inf).bounds(math.inf) == (0, math.inf)
    assert PruningWindow(2, start=1 / 500, stop=1.0).bounds(500) == (1, 499), "step 1, as the error says"
    with pytest.raises(ValueError, match=r"PruningWindow\.start is the int 0"):
        PruningWindow(start=0)


def test_steps_that_an_earlier_release_wrote_as_floats_are_taken_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match=r"UpdateWindow.stop is 7000.0, .* use the int 7000") as warned:
        window = UpdateWindow(100, stop=7000.0)
    assert warned[0].filename == __file__
    assert repr(window) == repr(UpdateWindow(100, stop=7000))


def test_a_fraction_of_an_endless_run_is_refused_and_steps_are_not() -> None:
    with pytest.raises(ValueError, match="the Trainer has no end"):
        UpdateWindow(100).due(100, math.inf)
    assert UpdateWindow(100, stop=1000).due(100, math.inf)


# --- pruning windows ----------------------------------------------------------------------------

LENET5 = 11_719  # optimizer steps


@pytest.mark.parametrize("window", [PruningWindow(100, 3000, 7000), PruningWindow(100, 0.256, 0.5973)])
def test_the_paper_prunes_lenet5_41_times(window: PruningWindow) -> None:
    assert [step for step in range(LENET5) if window.due(step, LENET5)] == list(range(3000, 7001, 100))
    sparsity = {step: Cubic(0.0, 0.95)(window.progress(step, LENET5)) for step in (0, 3000, 5000, 7000, 9000)}
    assert sparsity == pytest.approx({0: 0.0, 3000: 0.0, 5000: 0.875 * 0.95, 7000: 0.95, 9000: 0.95}, abs=1e-12)


@pytest.mark.parametrize(
    ("window", "total", "due"),
    [
        (PruningWindow(4, 2, 10), 20, [2, 6, 10]),
        (PruningWindow(4, 2, 12), 20, [2, 6, 10, 12]),  # the last one is at the end, divisible or not
        (PruningWindow(4, 0.0, 1.0), 11, [0, 4, 8, 10]),  # no step 11 comes in a run of 11 steps
        (PruningWindow(4, 2, 11), 11, [2, 6, 10]),
        (PruningWindow(100, 0.25, 0.75), 1, [0]),
        (PruningWindow(100, 0.9, 1.0), 3, [2]),
        (PruningWindow(4, 2, 7), math.inf, [2, 6, 7]),
        (PruningWindow(2, 0.0, 1.0), 4.5, [0, 2, 3]),  # two optimizers that share nine steps
    ],
)
def test_pruning_windows_include_their_ends(window: PruningWindow, total: float, due: list[int]) -> None:
    assert [step for step in range(20) if window.due(step, total)] == due
    assert window.progress(due[-1], total) == 1.0
    if len(due) > 1:
        assert window.progress(due[0], total) == 0.0


def test_a_pruning_window_longer_than_the_run_is_refused() -> None:
    with pytest.raises(ValueError, match="ends after the run of 5000 steps, whose final sparsity would not be reached"):
        PruningWindow(100, 3000, 7000).bounds(5000)
    with pytest.raises(ValueError, match="starts at step 3000 and stops at 2500 of this run: it never opens"):
        PruningWindow(100, 3000, 0.5).bounds(5000)
