from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.report.charts import pareto
from experiments.report.groups import BINS, Group, group_runs
from experiments.report.metrics_file import MetricCurve
from experiments.report.runs import Run


def run(name: str, seed: int, **config: str) -> Run:
    return Run(Path(f"runs/{name}/{seed}"), name, seed=seed, config=config)


def test_seeds_of_one_setting_are_one_group() -> None:
    groups = group_runs([run("a", 0, lr="1"), run("b", 0, lr="1"), run("a", 1, lr="1")])
    assert [(group.label, group.seeds) for group in groups] == [("a", "2 (0, 1)"), ("b", "1 (0)")]


def test_settings_of_one_name_are_told_apart_by_what_differs() -> None:
    runs = [run("a", 0, **{"x.lr": lr, "x.size": "3", "y.sparsity": s}) for lr in ("1", "2") for s in (".8", ".9")]
    assert [group.label for group in group_runs(runs)] == [
        "a, lr 1, sparsity .8",
        "a, lr 1, sparsity .9",
        "a, lr 2, sparsity .8",
        "a, lr 2, sparsity .9",
    ]


def test_runs_without_settings_are_told_apart_by_what_was_measured_or_by_their_folder() -> None:
    sparse = {"sparsity/actual": MetricCurve(np.array([1]), np.array([0.9]))}
    measured = group_runs([Run(Path("x"), "a"), Run(Path("y"), "a", curves=sparse)])
    assert [group.label for group in measured] == ["a", "a, sparsity 0.900"]
    studies = group_runs([Run(Path("x"), "a", config={"k.b": "1"}), Run(Path("y"), "a", config={"j.b": "1"})])
    assert [group.label for group in studies] == ["a, b 1 [x]", "a, b 1 [y]"]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 2000), st.floats(-1e6, 1e6)), min_size=1, max_size=30), min_size=1, max_size=3
    )
)
def test_curves_are_means_over_runs_of_means_over_equal_parts(logged: list[list[tuple[int, float]]]) -> None:
    runs = [
        Run(
            Path(str(i)), "a", curves={"k": MetricCurve(np.array([s for s, _ in rows]), np.array([v for _, v in rows]))}
        )
        for i, rows in enumerate(logged)
    ]
    found = Group("a", runs).curve("k")
    end = max(step for rows in logged for step, _ in rows) + 1
    parts = min(BINS, end)
    expected = []
    for part in range(parts):
        means = []
        for rows in logged:
            here = [(step, value) for step, value in rows if step * parts // end == part]
            if here:
                means.append(np.mean(here, axis=0))
        if means:
            steps, values = np.array(means).T
            expected.append((steps.mean(), values.mean(), values.min(), values.max()))
    np.testing.assert_allclose(found, np.array(expected).T, rtol=1e-9, atol=1e-6)


def test_what_is_not_finite_is_left_out_of_curves() -> None:
    curve = MetricCurve(np.array([0, 1, 2]), np.array([1.0, np.nan, np.inf]))
    found = Group("a", [Run(Path("x"), "a", curves={"k": curve})]).curve("k")
    assert found is not None
    np.testing.assert_array_equal(found, [[0], [1], [1], [1]])
    assert Group("a", [Run(Path("x"), "a")]).curve("k") is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_the_front_is_what_no_point_beats(points: list[tuple[int, int]]) -> None:
    front = {points[i] for i in pareto(points)}
    for cost, score in points:
        beaten = any((c <= cost and s >= score) and (c, s) != (cost, score) for c, s in points)
        assert ((cost, score) in front) == (not beaten)


@pytest.mark.parametrize(("of", "expected"), [("test/acc", [0.5]), ("minutes", [2.0]), ("training", [7.0]), ("x", [])])
def test_numbers_come_from_scores_metrics_or_the_record(of: str, expected: list[float]) -> None:
    record = {"scores": {"test/acc": 0.5}, "minutes": 2.0, "flops": {"training": 7.0}}
    assert Group("a", [Run(Path("x"), "a", record=record)]).numbers(of) == expected
