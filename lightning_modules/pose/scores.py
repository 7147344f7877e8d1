"""Scores of poses: how far joints are off, which are correct, and how they are averaged.

Joints or parts (J) of people (N) that are correct or not come as two bool tensors (N, J): ``correct``, and ``counted``,
which says what takes part in the score. Averages of them are fractions in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .protocols import check_mirror


def normalized_errors(pred: Tensor, target: Tensor, visible: Tensor, size: Tensor) -> Tensor:
    """Return distances (N, K) between predicted and true joints, in sizes; infinite where a joint is not visible.

    Args:
        pred: (N, K, 2) px.
        target: (N, K, 2) px, with the same origin as ``pred``; joints that are not visible may hold anything.
        visible: (N, K) bool, True where a joint is annotated, so that it counts, occluded or not.
        size: (N,) px, size of the torso or the head; it may be anything for people without a visible joint.

    Raises:
        ValueError: shapes disagree, ``visible`` is not bool, a value that counts is not finite, or a size is not
            above 0.

    Example:
        >>> pred, target = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]), torch.zeros(1, 2, 2)
        >>> normalized_errors(pred, target, torch.tensor([[True, False]]), torch.tensor([10.0]))
        tensor([[0.5000,    inf]])
    """
    _check_poses(pred, target, visible, size)
    dtype = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
    distance: Tensor = torch.linalg.vector_norm(pred.to(dtype) - target.to(dtype), dim=2)
    return (distance / size.to(dtype)[:, None]).masked_fill(~visible, torch.inf)


def correct_joints(errors: Tensor, threshold: float, *, strict: bool = False) -> Tensor:
    """Return which joints (N, K) are off by at most ``threshold`` sizes, or by less if ``strict``.

    Args:
        errors: (N, K), from :func:`normalized_errors`.
        threshold: above 0 and finite, in sizes.
        strict: whether an error that equals the threshold is wrong.

    Raises:
        ValueError: ``threshold`` is out of range.

    Reference:
        The official scripts and HRNet compare by <=, mmpose and pytorch-pose by <.

    Example:
        >>> errors = torch.tensor([[0.4, 0.5, 0.6]])
        >>> correct_joints(errors, 0.5), correct_joints(errors, 0.5, strict=True)
        (tensor([[ True,  True, False]]), tensor([[ True, False, False]]))
    """
    if not 0 < threshold < float("inf"):
        raise ValueError(f"threshold is {threshold}; it is a positive number of sizes")
    return errors < threshold if strict else errors <= threshold


def correct_parts(
    pred: Tensor, target: Tensor, visible: Tensor, parts: Sequence[tuple[int, int]], *, strict: bool = True
) -> tuple[Tensor, Tensor]:
    """Return which parts (N, P) are correct by PCP, and which count because both their ends are visible.

    A part is correct if its ends are off by at most half its true length: each end in strict PCP, the mean of both in
    loose PCP.

    Args:
        pred: (N, K, 2) px.
        target: (N, K, 2) px.
        visible: (N, K) bool.
        parts: the joints at the two ends of each part.
        strict: whether to score by strict PCP.

    Raises:
        ValueError: :func:`normalized_errors` refuses the poses, or ``parts`` is empty or out of range.

    Reference:
        Ferrari et al. 2008; Pishchulin et al. 2012 distinguish strict and loose PCP.
    """
    distance = normalized_errors(pred, target, visible, torch.ones(pred.shape[:1], device=pred.device))
    if not parts or not all(0 <= joint < pred.shape[1] for part in parts for joint in part):
        raise ValueError(f"parts is {tuple(parts)}; it pairs the {pred.shape[1]} joints, each from 0")
    start, end = (list(ends) for ends in zip(*parts, strict=True))
    counted = visible[:, start] & visible[:, end]
    length = torch.linalg.vector_norm((target[:, start] - target[:, end]).to(distance.dtype), dim=2)
    ends = torch.stack((distance[:, start], distance[:, end]))
    off = ends.amax(0) if strict else ends.mean(0)
    return (off <= length / 2) & counted, counted


def mirrored_joints(
    pred: Tensor, target: Tensor, visible: Tensor, size: Tensor, mirror: Sequence[int], threshold: float
) -> Tensor:
    """Return which joints (N, K) are wrong, but would be correct for the same joint of the other side.

    Their share of the wrong joints says how many errors are confusions of left and right. The score that accepts
    either side is the average of ``correct | mirrored``.

    Args:
        pred: (N, K, 2) px.
        target: (N, K, 2) px.
        visible: (N, K) bool; a joint of the other side that is not visible excuses nothing.
        size: (N,) px.
        mirror: for each joint the one of the other side; joints of the middle are their own and never mirrored.
        threshold: in sizes; a joint whose error equals it is correct.

    Raises:
        ValueError: :func:`normalized_errors` refuses the poses, or ``mirror`` does not exchange pairs of the K joints.
    """
    own = correct_joints(normalized_errors(pred, target, visible, size), threshold)
    check_mirror(mirror, pred.shape[1])
    order = list(mirror)
    other = normalized_errors(pred, target[:, order], visible & visible[:, order], size)
    return correct_joints(other, threshold) & ~own


def per_joint(correct: Tensor, counted: Tensor) -> Tensor:
    """Return the correct fraction (J,) of each joint or part, float64; nan for those that count for nobody."""
    return correct.sum(0).double() / counted.sum(0)


def weighted_mean(correct: Tensor, counted: Tensor) -> float:
    """Return the correct fraction of all joints that count, the mean of joints weighted by how often each is annotated.

    Raises:
        ValueError: nothing counts.

    Reference:
        The official MPII script, HRNet and mmpose average so.

    Example:
        >>> correct = torch.tensor([[True, True], [False, False], [False, False]])
        >>> counted = torch.tensor([[True, True], [True, False], [True, False]])
        >>> weighted_mean(correct, counted), plain_mean(correct, counted)
        (0.5, 0.6666666666666666)
    """
    return int(correct.sum()) / _count(counted)


def plain_mean(correct: Tensor, counted: Tensor) -> float:
    """Return the mean of the joints' correct fractions, over the joints that anybody has annotated.

    Raises:
        ValueError: nothing counts.

    Reference:
        pytorch-pose averages so, and compares errors as ``correct_joints(strict=True)`` does.
    """
    _count(counted)
    return float(per_joint(correct, counted).nanmean())


def auc_thresholds(limit: float) -> Tensor:
    """Return the thresholds 0, 0.01, ..., ``limit`` of the area under the curve, float64.

    Raises:
        ValueError: ``limit`` is not a positive multiple of 0.01.
    """
    steps = round(limit * 100) if 0 < limit < float("inf") else 0
    if steps < 1 or steps / 100 != limit:
        raise ValueError(f"limit is {limit}; the curve goes up to a positive multiple of 0.01 sizes")
    return torch.arange(steps + 1, dtype=torch.float64) / 100


def area_under_curve(errors: Tensor, visible: Tensor, limit: float) -> float:
    """Return the area under the weighted mean over the thresholds of :func:`auc_thresholds`, scaled to [0, 1].

    Raises:
        ValueError: ``limit`` is not a positive multiple of 0.01, or no joint is visible.

    Reference:
        The official scripts sum the same trapezoids.
    """
    thresholds = auc_thresholds(limit).to(errors.dtype)
    correct = torch.stack([(errors <= threshold).sum() for threshold in thresholds])
    return float(torch.trapezoid(correct.double())) / (len(thresholds) - 1) / _count(visible)


def bootstrap_interval(
    correct: Tensor,
    counted: Tensor,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int | torch.Generator = 0,
) -> tuple[float, float]:
    """Return a confidence interval of the weighted mean, as it would vary if other people had been photographed.

    The limits are percentiles of the means of resampled people. People for whom nothing counts are left out.
    ``scipy.stats.bootstrap`` would draw other people for a seed, and so change published intervals.

    Args:
        correct: (N, J) bool.
        counted: (N, J) bool.
        level: share of the resamples that lie within the interval, in (0, 1).
        resamples: how often N people are drawn with replacement.
        seed: a seed, or a CPU generator, which is advanced.

    Raises:
        ValueError: nothing counts, or ``level`` or ``resamples`` is out of range.

    Example:
        >>> correct = torch.tensor([[True, True], [True, False], [False, False]])
        >>> low, high = bootstrap_interval(correct, torch.ones_like(correct))
        >>> low < weighted_mean(correct, torch.ones_like(correct)) < high
        True
    """
    _count(counted)
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"level is {level} and resamples {resamples}; a level in (0, 1) and one resample or more")
    generator = torch.Generator().manual_seed(seed) if isinstance(seed, int) else seed
    people = torch.stack((correct.sum(1), counted.sum(1)), dim=1).double().cpu()[counted.any(1).cpu()]
    # one resample at a time: drawing all at once is no faster, and takes gigabytes for a whole training set
    draws = (torch.randint(len(people), (len(people),), generator=generator) for _ in range(resamples))
    right, all_ = torch.stack([people[draw].sum(0) for draw in draws]).unbind(1)
    tail = (1 - level) / 2
    low, high = torch.quantile(right / all_, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


def _count(counted: Tensor) -> int:
    """Return how many joints count, and refuse none."""
    if not counted.any():
        raise ValueError("no joint is visible, so there is no score; pass at least one annotated joint")
    return int(counted.sum())


def _check_poses(pred: Tensor, target: Tensor, visible: Tensor, size: Tensor) -> None:
    if pred.dim() != 3 or pred.shape[2] != 2:
        raise ValueError(f"pred is {tuple(pred.shape)}; it holds x and y of joints of people, (N, K, 2)")
    shapes = {"target": (target, pred.shape), "visible": (visible, pred.shape[:2]), "size": (size, pred.shape[:1])}
    for name, (tensor, shape) in shapes.items():
        if tensor.shape != shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)}; for pred of {tuple(pred.shape)} it is {tuple(shape)}")
    if visible.dtype != torch.bool:
        raise ValueError(f"visible is {visible.dtype}; pass torch.bool, True = annotated")
    for name, points in (("pred", pred), ("target", target)):
        for person, joint in (visible & ~points.isfinite().all(2)).nonzero()[:1].tolist():
            where = f"{name}[{person}, {joint}]"
            raise ValueError(f"{where} is {points[person, joint].tolist()}; the joint is visible, so it has a place")
    for (person,) in (visible.any(1) & ~(size.isfinite() & (size > 0))).nonzero()[:1].tolist():
        raise ValueError(f"size[{person}] is {size[person].item()}; errors are measured in positive sizes")
