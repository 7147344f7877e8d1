import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from experiments.analysis import (
    Spread,
    accuracy,
    disagreement,
    ensemble_accuracy,
    js_divergence,
    kl_divergence,
    over_pairs,
    to_reference,
)

Array = NDArray[np.float64]


def predictions(seed: int, samples: int = 40, classes: int = 5, sharpness: float = 1.0) -> Array:
    logits = np.random.default_rng(seed).normal(size=(samples, classes)) * sharpness
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def test_divergences_agree_with_scipy() -> None:
    p, q = predictions(0), predictions(1)
    assert kl_divergence(p, q) == pytest.approx(np.mean([scipy.stats.entropy(a, b) for a, b in zip(p, q, strict=True)]))
    js = [scipy.spatial.distance.jensenshannon(a, b) ** 2 for a, b in zip(p, q, strict=True)]
    assert js_divergence(p, q) == pytest.approx(np.mean(js))


def test_disagreement_counts_differing_classes_and_the_first_of_equals() -> None:
    p = [[0.6, 0.4], [0.5, 0.5], [0.1, 0.9], [0.3, 0.7]]
    q = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.2, 0.8]]
    assert disagreement(p, q) == 0.25


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([0.0, 1.0, 30.0, 1000.0]))
def test_symmetry_and_range(first: int, second: int, sharpness: float) -> None:
    p, q = predictions(first, 6, sharpness=sharpness), predictions(second, 6, sharpness=sharpness)
    assert 0 <= disagreement(p, q) <= 1
    assert disagreement(p, q) == disagreement(q, p)
    assert 0 <= js_divergence(p, q) <= math.log(2) + 1e-12
    assert js_divergence(p, q) == pytest.approx(js_divergence(q, p), abs=1e-15)
    assert 0 <= kl_divergence(p, q) < math.inf
    assert disagreement(p, p) == kl_divergence(p, p) == js_divergence(p, p) == 0
    assert js_divergence(p, q) <= (kl_divergence(p, q) + kl_divergence(q, p)) / 4 + 1e-12  # Lin 1991, theorem 3


def test_zeros_are_limits_not_nan() -> None:
    certain, contradicted = [[1.0, 0.0]], [[0.0, 1.0]]
    assert kl_divergence(certain, certain) == 0
    assert kl_divergence(certain, [[0.5, 0.5]]) == pytest.approx(math.log(2))
    assert kl_divergence(certain, contradicted) == pytest.approx(-math.log(np.finfo(np.float32).tiny))
    assert js_divergence(certain, contradicted) == pytest.approx(math.log(2))


def test_sums_that_are_a_little_off_and_rounding_give_nothing_below_zero() -> None:
    p = predictions(0)
    assert kl_divergence(p, p * 0.9995) == pytest.approx(0, abs=1e-15)
    for seed in range(30):
        nearly = predictions(seed) * (1 + 1e-12 * predictions(seed + 1))
        assert kl_divergence(predictions(seed), nearly) >= 0


def test_small_probabilities_are_not_clipped() -> None:
    assert kl_divergence([[1.0, 0.0]], [[1e-30, 1 - 1e-30]]) == pytest.approx(30 * math.log(10))


def test_tensors_of_every_precision_are_taken() -> None:
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    exact = logits.double().softmax(1)
    for dtype, error in ((torch.float32, 1e-7), (torch.float16, 1e-3)):
        assert kl_divergence(logits.to(dtype).softmax(1), exact.flip(0)) == pytest.approx(
            kl_divergence(exact.numpy(), exact.flip(0).numpy()), abs=10 * error
        )


def test_pairs_are_in_both_orders_and_never_of_a_run_with_itself() -> None:
    runs = [predictions(seed) for seed in range(3)]
    values = [kl_divergence(runs[i], runs[j]) for i in range(3) for j in range(3) if i != j]
    spread = over_pairs(kl_divergence, runs)
    assert spread.mean == pytest.approx(np.mean(values))
    assert spread.std == pytest.approx(math.sqrt(sum((v - np.mean(values)) ** 2 for v in values) / 6))
    once = [disagreement(runs[i], runs[j]) for i in range(3) for j in range(i)]
    assert over_pairs(disagreement, runs) == Spread(pytest.approx(np.mean(once)), pytest.approx(np.std(once)))


def test_a_reference_comes_second() -> None:
    runs, reference = [predictions(0), predictions(1)], predictions(2)
    values = [kl_divergence(run, reference) for run in runs]
    assert to_reference(kl_divergence, runs, reference) == Spread(np.mean(values), np.std(values))
    assert values[0] != pytest.approx(kl_divergence(reference, runs[0]))


def test_ensemble_averages_probabilities() -> None:
    runs = [[[0.9, 0.1], [0.4, 0.6]], [[0.4, 0.6], [0.4, 0.6]], [[0.4, 0.6], [0.9, 0.1]]]
    assert ensemble_accuracy(runs, [0, 0]) == 1.0  # the majority, and averaged logs, would say otherwise
    assert [accuracy(run, [0, 0]) for run in runs] == [0.5, 0.0, 0.5]


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_an_ensemble_of_equal_runs_is_as_accurate_as_one(seed: int, size: int) -> None:
    run, labels = predictions(seed), np.random.default_rng(seed).integers(0, 5, 40)
    assert ensemble_accuracy([run] * size, labels) == accuracy(run, labels)


def test_accuracy_against_a_loop() -> None:
    run, labels = predictions(3), np.arange(40) % 5
    hits = sum(max(range(5), key=lambda c, row=row: row[c]) == label for row, label in zip(run, labels, strict=True))
    assert accuracy(run, torch.from_numpy(labels)) == hits / 40


@pytest.mark.parametrize("measure", [disagreement, kl_divergence, js_divergence])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([0.5, 0.5], r"second has shape \(2,\)"),
        (np.zeros((0, 2)), r"second has shape \(0, 2\)"),
        ([[0.5, 0.6]], "a row of second sums to 1.1, not 1: apply softmax"),
        ([[-0.5, 1.5]], "second holds negative numbers"),
        ([[math.nan, 1.0]], "second holds negative numbers, NaN"),
        ([[math.inf, 0.0]], "second holds negative numbers, NaN or infinity"),
        ([[0.2, 0.3, 0.5]], r"first has shape \(1, 2\) and second \(1, 3\)"),
    ],
)
def test_what_is_no_probability_is_refused(measure: Callable[..., float], bad: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure([[0.5, 0.5]], bad)


def test_bad_groups_and_labels_are_refused() -> None:
    run = [[0.5, 0.5]]
    for call, message in (
        (lambda: over_pairs(disagreement, [run]), "1 runs; a pair takes 2"),
        (lambda: to_reference(disagreement, [], run), "predictions is empty"),
        (lambda: ensemble_accuracy([], [0]), "predictions is empty"),
        (lambda: ensemble_accuracy([run, run * 2], [0]), "give the same samples"),
        (lambda: accuracy(run, [0, 1]), "it takes 1 whole numbers"),
        (lambda: accuracy(run, [0.0]), "labels is float64"),
        (lambda: accuracy(run, [2]), r"labels lie in \[2, 2\], but there are 2 classes"),
        (lambda: accuracy(run, [-1]), r"labels lie in \[-1, -1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
