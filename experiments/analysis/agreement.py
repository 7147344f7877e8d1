"""Agreement of predictions: disagreement, divergences and ensembles of class probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# a softmax in float32 that underflows to 0 was below this
SMALLEST = float(np.finfo(np.float32).tiny)


def disagreement(first: ArrayLike, second: ArrayLike) -> float:
    """Return the fraction of samples whose most probable class differs, in [0, 1].

    Args:
        first: probabilities (N, C) of N samples; rows sum to 1 within 0.001. The first of equally probable classes
            counts.
        second: probabilities of another run for the same samples.

    Raises:
        ValueError: an argument is not such an array, or the shapes differ.

    Example:
        >>> disagreement([[0.9, 0.1], [0.2, 0.8]], [[0.6, 0.4], [0.7, 0.3]])
        0.5

    Reference:
        Fort et al. 2019; Evci et al. 2022, section on lottery tickets.
    """
    p, q = _pair(first, second)
    return float((p.argmax(1) != q.argmax(1)).mean())


def kl_divergence(first: ArrayLike, second: ArrayLike) -> float:
    """Return KL(first || second) in nats, the mean over samples; it is 0 or more, and finite.

    Arguments and errors are those of :func:`disagreement`. Where ``second`` is 0 and ``first`` is not, the divergence
    would be infinite, and one such sample would hide all others; but a float32 softmax is 0 only because it underflows.
    Hence ``second`` counts as at least 1.2e-38, the smallest normal float32: a sample that is certain in one run and
    contradicted in the other has a divergence of 87.3.

    Example:
        >>> round(kl_divergence([[0.5, 0.5]], [[0.25, 0.75]]), 6)
        0.143841
    """
    return _relative_entropy(*_pair(first, second))


def js_divergence(first: ArrayLike, second: ArrayLike) -> float:
    """Return the Jensen-Shannon divergence in nats, the mean over samples; it lies in [0, ln 2].

    It is the mean of the KL divergences of both to their average. Arguments and errors are those of
    :func:`disagreement`.

    Example:
        >>> round(js_divergence([[1, 0]], [[0, 1]]), 6)
        0.693147
    """
    p, q = _pair(first, second)
    middle = (p + q) / 2
    return (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2


@dataclass(frozen=True)
class Spread:
    """The mean and the standard deviation (of the population, divided by n) over pairs of runs."""

    mean: float
    std: float


Measure = Callable[[ArrayLike, ArrayLike], float]


def over_pairs(measure: Measure, predictions: Sequence[ArrayLike]) -> Spread:
    """Apply a measure to all pairs of different runs in a group, in both orders.

    Args:
        measure: :func:`disagreement`, :func:`kl_divergence`, :func:`js_divergence` or one of your own.
        predictions: probabilities (N, C) of the same samples, one array for each of two runs or more.

    Raises:
        ValueError: there are fewer than two runs, or two of them cannot be compared.

    Example:
        >>> over_pairs(disagreement, [[[1, 0], [1, 0]], [[1, 0], [0, 1]], [[1, 0], [1, 0]]])
        Spread(mean=0.3333333333333333, std=0.23570226039551584)
    """
    if len(predictions) < 2:
        raise ValueError(f"predictions holds {len(predictions)} runs; a pair takes 2 or more")
    return _spread([measure(first, second) for first, second in permutations(predictions, 2)])


def to_reference(measure: Measure, predictions: Sequence[ArrayLike], reference: ArrayLike) -> Spread:
    """Apply a measure to each run and one reference, as ``measure(run, reference)``.

    Args:
        measure: as in :func:`over_pairs`.
        predictions: probabilities (N, C), one array for each of one run or more.
        reference: probabilities (N, C), for example those of the pruning solution.

    Raises:
        ValueError: there are no runs, or one cannot be compared with the reference.
    """
    _refuse_none(predictions)
    return _spread([measure(run, reference) for run in predictions])


def accuracy(prediction: ArrayLike, labels: ArrayLike) -> float:
    """Return the fraction of samples whose most probable class is the label.

    Args:
        prediction: probabilities (N, C) as in :func:`disagreement`.
        labels: (N,) whole numbers from 0 to C - 1.

    Raises:
        ValueError: an argument is not such an array.

    Example:
        >>> accuracy([[0.9, 0.1], [0.2, 0.8]], [0, 0])
        0.5
    """
    p, classes = _probabilities("prediction", prediction), np.asarray(labels)
    if classes.shape != p.shape[:1] or classes.dtype.kind not in "iu":
        raise ValueError(f"labels is {classes.dtype} {classes.shape}; it takes {len(p)} whole numbers, one a sample")
    if classes.min() < 0 or classes.max() >= p.shape[1]:
        raise ValueError(f"labels lie in [{classes.min()}, {classes.max()}], but there are {p.shape[1]} classes from 0")
    return float((p.argmax(1) == classes).mean())


def ensemble_accuracy(predictions: Sequence[ArrayLike], labels: ArrayLike) -> float:
    """Return the accuracy of the averaged probabilities of a group of runs.

    Args:
        predictions: probabilities (N, C) of the same samples, one array a run.
        labels: (N,) whole numbers from 0 to C - 1.

    Raises:
        ValueError: there are no runs, their shapes differ, or an argument is not such an array.

    Example:
        >>> ensemble_accuracy([[[0.9, 0.1]], [[0.4, 0.6]]], [0])
        1.0

    Reference:
        Evci et al. 2022, section on lottery tickets; that probabilities are averaged, not logits, is our reading.
    """
    _refuse_none(predictions)
    checked = [_probabilities(f"predictions[{index}]", run) for index, run in enumerate(predictions)]
    if len({run.shape for run in checked}) > 1:
        raise ValueError(f"predictions have the shapes {[run.shape for run in checked]}; give the same samples")
    return accuracy(np.mean(checked, axis=0), labels)


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    from scipy.special import rel_entr  # type: ignore[import-untyped]  # imported late: reports need it not

    return max(0.0, float(rel_entr(p, np.maximum(q, SMALLEST)).sum(1).mean()))  # rounding may leave less than 0


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.mean(values)), float(np.std(values)))


def _refuse_none(predictions: Sequence[ArrayLike]) -> None:
    if not predictions:
        raise ValueError("predictions is empty; give one run or more")


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    p, q = _probabilities("first", first), _probabilities("second", second)
    if p.shape != q.shape:
        raise ValueError(f"first has shape {p.shape} and second {q.shape}; give predictions of the same samples")
    return p, q


def _probabilities(argument: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return checked probabilities in double precision, scaled to sums of exactly 1."""
    p = np.asarray(values, dtype=np.float64)
    if p.ndim != 2 or not p.size:
        raise ValueError(f"{argument} has shape {p.shape}; probabilities are (samples, classes), one or more of each")
    if not np.isfinite(p).all() or (p < 0).any():
        raise ValueError(f"{argument} holds negative numbers, NaN or infinity: probabilities come from a softmax")
    sums = p.sum(1, keepdims=True)
    if np.abs(sums - 1).max() > 1e-3:
        raise ValueError(f"a row of {argument} sums to {sums[np.abs(sums - 1).argmax()].item()}, not 1: apply softmax")
    return np.asarray(p / sums)
