"""Scores of poses against a slow reference, on made-up errors, and under what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from poses import random_poses

from lightning_modules.pose.protocols import LSP, MPII, PoseProtocol
from lightning_modules.pose.scores import (
    area_under_curve,
    auc_thresholds,
    bootstrap_interval,
    correct_joints,
    correct_parts,
    mirrored_joints,
    normalized_errors,
    per_joint,
    plain_mean,
    weighted_mean,
)

THRESHOLD = 0.5


def reference(protocol: PoseProtocol, poses: tuple, threshold: float) -> dict[str, float]:
    """Everything again, one joint at a time."""
    pred, target, visible, size = (tensor.numpy() for tensor in poses)
    people, joints = visible.shape
    right, seen, wrong, mirrored = [0] * joints, [0] * joints, 0, 0
    curve = [0] * 51
    strict = loose = parts = 0
    for n in range(people):
        for k in range(joints):
            if not visible[n, k]:
                continue
            error = math.dist(pred[n, k], target[n, k]) / size[n]
            seen[k] += 1
            for step in range(51):
                curve[step] += error <= step / 100
            if error <= threshold:
                right[k] += 1
                continue
            wrong += 1
            m = protocol.mirror[k]
            if m != k and visible[n, m] and math.dist(pred[n, k], target[n, m]) / size[n] <= threshold:
                mirrored += 1
        for a, b in protocol.parts:
            if visible[n, a] and visible[n, b]:
                half = math.dist(target[n, a], target[n, b]) / 2
                ends = [math.dist(pred[n, j], target[n, j]) for j in (a, b)]
                parts += 1
                strict += ends[0] <= half and ends[1] <= half
                loose += sum(ends) / 2 <= half
    total = sum(seen)
    return {
        "weighted": sum(right) / total,
        "plain": sum(r / s for r, s in zip(right, seen, strict=True)) / joints,
        "auc": float(np.trapezoid(np.array(curve) / total, np.arange(51) / 100)) / 0.5,
        "strict": strict / parts,
        "loose": loose / parts,
        "mirrored": mirrored / wrong,
        "either": (sum(right) + mirrored) / total,
    }


@pytest.mark.parametrize("protocol", [LSP, MPII], ids=["LSP", "MPII"])
@pytest.mark.parametrize("seed", range(3))
def test_every_score_is_that_of_the_slow_reference(protocol: PoseProtocol, seed: int) -> None:
    poses = pred, target, visible, _ = random_poses(protocol, 40, seed)
    errors = normalized_errors(*poses)
    correct = correct_joints(errors, THRESHOLD)
    mirrored = mirrored_joints(*poses, protocol.mirror, THRESHOLD)
    wrong = visible & ~correct
    expected = reference(protocol, poses, THRESHOLD)
    found = {
        "weighted": weighted_mean(correct, visible),
        "plain": plain_mean(correct, visible),
        "auc": area_under_curve(errors, visible, 0.5),
        "strict": weighted_mean(*correct_parts(pred, target, visible, protocol.parts)),
        "loose": weighted_mean(*correct_parts(pred, target, visible, protocol.parts, strict=False)),
        "mirrored": weighted_mean(mirrored, wrong),
        "either": weighted_mean(correct | mirrored, visible),
    }
    assert found == pytest.approx(expected, abs=1e-12)
    assert len({round(value, 6) for value in expected.values()}) == len(expected)  # none stands for another


def test_an_error_at_the_threshold_is_right_by_le_and_wrong_by_lt() -> None:
    pred = torch.tensor([[[3.0, 4.0], [0.0, 5.1], [0.0, 4.9]]])
    errors = normalized_errors(pred, torch.zeros(1, 3, 2), torch.ones(1, 3, dtype=torch.bool), torch.tensor([10.0]))
    assert correct_joints(errors, 0.5).tolist() == [[True, False, True]]
    assert correct_joints(errors, 0.5, strict=True).tolist() == [[False, False, True]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_errors_at_the_thresholds_of_the_curve_are_right(dtype: torch.dtype) -> None:
    """Hundredths as they are written, 0.35, not 35 times 0.01, which is another number."""
    assert auc_thresholds(0.5).tolist() == [i / 100 for i in range(51)]
    hundredths = torch.arange(51, dtype=dtype)[:, None]
    pred = torch.stack((hundredths, torch.zeros_like(hundredths)), dim=2)
    visible = torch.ones(51, 1, dtype=torch.bool)
    errors = normalized_errors(pred, torch.zeros_like(pred), visible, torch.full((51,), 100, dtype=dtype))
    curve = [(i + 1) / 51 for i in range(51)]  # error i is right from threshold i on
    assert area_under_curve(errors, visible, 0.5) == pytest.approx((sum(curve) - (curve[0] + curve[-1]) / 2) / 50)


def test_a_joint_that_is_not_visible_counts_nowhere() -> None:
    poses = pred, target, visible, size = random_poses(MPII, 20)
    errors = normalized_errors(*poses)
    assert torch.equal(errors.isinf(), ~visible)
    for value in torch.nan, torch.inf, 0.0:
        for spoil in (pred, target):
            clean = spoil.clone()
            spoil[~visible] = value
            assert torch.equal(normalized_errors(pred, target, visible, size), errors)
            parts = correct_parts(pred, target, visible, MPII.parts)
            assert not (parts[0] & ~parts[1]).any()
            spoil.copy_(clean)


def test_negative_coordinates_and_zeros_count_like_others() -> None:
    target = torch.tensor([[[-5.0, 0.0], [0.0, 0.0]]])
    errors = normalized_errors(target, target, torch.ones(1, 2, dtype=torch.bool), torch.tensor([1.0]))
    assert errors.tolist() == [[0.0, 0.0]]


def test_sizes_of_people_without_a_visible_joint_may_be_anything() -> None:
    points, visible = torch.zeros(2, 1, 2), torch.tensor([[True], [False]])
    errors = normalized_errors(points, points, visible, torch.tensor([1.0, torch.nan]))
    assert errors.tolist() == [[0.0], [torch.inf]]


def test_half_precision_is_scored_in_single_precision() -> None:
    points, visible = torch.zeros(1, 1, 2, dtype=torch.bfloat16), torch.ones(1, 1, dtype=torch.bool)
    assert normalized_errors(points, points.float(), visible, torch.ones(1)).dtype == torch.float32
    assert normalized_errors(points.long(), points.long(), visible, torch.ones(1)).dtype == torch.float32


def test_a_joint_that_nobody_has_is_left_out_of_the_plain_mean() -> None:
    correct = torch.tensor([[True, False, False], [False, False, False]])
    counted = torch.tensor([[True, True, False], [True, False, False]])
    assert per_joint(correct, counted)[:2].tolist() == [0.5, 0.0]
    assert per_joint(correct, counted)[2].isnan()
    assert plain_mean(correct, counted) == 0.25
    assert weighted_mean(correct, counted) == pytest.approx(1 / 3)


def test_parts_are_judged_at_half_their_length() -> None:
    target = torch.tensor([[[0.0, 0.0], [10.0, 0.0]]])
    seen = torch.ones(1, 2, dtype=torch.bool)
    for first, second, strict, loose in (5, 5, True, True), (6, 4, False, True), (6, 5, False, False):
        pred = target + torch.tensor([[[0.0, first], [0.0, second]]])
        assert correct_parts(pred, target, seen, [(0, 1)])[0].item() is strict
        assert correct_parts(pred, target, seen, [(0, 1)], strict=False)[0].item() is loose
    one_end = torch.tensor([[True, False]])
    assert [t.item() for t in correct_parts(target, target, one_end, [(0, 1)])] == [False, False]


def test_mirrored_joints_are_wrong_joints_of_pairs() -> None:
    target = torch.tensor([[[0.0, 0.0], [100.0, 0.0], [50.0, 0.0]]])
    seen, size, mirror = torch.ones(1, 3, dtype=torch.bool), torch.tensor([10.0]), (1, 0, 2)

    def found(*xs: float, visible: torch.Tensor = seen) -> list[bool]:
        pred = torch.tensor([[[x, 0.0] for x in xs]])
        return mirrored_joints(pred, target, visible, size, mirror, 0.5)[0].tolist()

    assert found(100, 0, 50) == [True, True, False]
    assert found(105, 6, 0) == [True, False, False]  # <=, and the middle joint has no other side
    assert found(0, 100, 50) == [False, False, False]
    assert found(100, 0, 50, visible=torch.tensor([[True, False, True]])) == [False, False, False]
    near = torch.tensor([[[0.0, 0.0], [4.0, 0.0], [50.0, 0.0]]])  # right for both sides is right
    assert not mirrored_joints(near[:, [1, 0, 2]], near, seen, size, mirror, 0.5).any()


similarities = st.tuples(st.floats(0.5, 2), st.floats(-3, 3), st.floats(-100, 100), st.floats(-100, 100))


@given(st.integers(0, 1000), similarities)
def test_errors_do_not_change_when_the_image_is_scaled_turned_and_shifted(seed: int, similarity: tuple) -> None:
    scale, angle, dx, dy = similarity
    pred, target, visible, size = random_poses(LSP, 5, seed)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64).T
    shift = torch.tensor([dx, dy], dtype=torch.float64)
    moved = normalized_errors(pred @ turn + shift, target @ turn + shift, visible, scale * size)
    torch.testing.assert_close(moved, normalized_errors(pred, target, visible, size), rtol=1e-9, atol=1e-9)


@given(st.integers(0, 1000), st.permutations(range(8)))
def test_the_order_of_people_does_not_matter(seed: int, order: list[int]) -> None:
    def scores(*poses: torch.Tensor) -> tuple[float, ...]:
        errors, visible = normalized_errors(*poses), poses[2]
        correct = correct_joints(errors, THRESHOLD)
        return weighted_mean(correct, visible), plain_mean(correct, visible), area_under_curve(errors, visible, 0.5)

    poses = random_poses(MPII, 8, seed)
    assert scores(*(tensor[order] for tensor in poses)) == scores(*poses)


@given(st.integers(0, 1000), st.floats(0.01, 2), st.floats(0.01, 2))
def test_scores_grow_with_the_threshold(seed: int, one: float, other: float) -> None:
    poses = random_poses(LSP, 5, seed)
    errors, low, high = normalized_errors(*poses), min(one, other), max(one, other)
    assert not (correct_joints(errors, low) & ~correct_joints(errors, high)).any()
    assert not (correct_joints(errors, low, strict=True) & ~correct_joints(errors, low)).any()
    assert weighted_mean(correct_joints(errors, low), poses[2]) <= weighted_mean(correct_joints(errors, high), poses[2])


def test_the_bootstrap_interval_is_about_two_standard_errors_of_people() -> None:
    correct = (torch.rand(400, 1, generator=torch.Generator().manual_seed(0)) < 0.8).expand(-1, 10)
    counted = torch.ones_like(correct)
    mean = weighted_mean(correct, counted)
    low, high = bootstrap_interval(correct, counted)
    half = 1.96 * math.sqrt(mean * (1 - mean) / 400)  # people are all right or all wrong: 400 draws, not 4,000
    assert (mean - low, high - mean) == pytest.approx((half, half), rel=0.12)
    narrow = bootstrap_interval(correct, counted, level=0.5)
    assert low < narrow[0] < mean < narrow[1] < high


def test_the_bootstrap_is_weighted_by_counts_seeded_and_never_nan() -> None:
    counted = torch.zeros(50, 4, dtype=torch.bool)
    counted[:2, 0] = True  # 48 people without a joint: most resamples of all 50 would be empty
    correct = counted.clone()
    correct[1] = False
    assert bootstrap_interval(correct, counted) == (0.0, 1.0)
    counted[0] = True
    correct[0] = True
    assert bootstrap_interval(correct, counted, resamples=1000, level=0.2)[0] == pytest.approx(0.8)
    _, _, visible, _ = random_poses(LSP, 30)
    right = visible & (torch.rand(visible.shape, generator=torch.Generator().manual_seed(1)) < 0.7)
    assert bootstrap_interval(right, visible, seed=3) == bootstrap_interval(right, visible, seed=3)
    assert bootstrap_interval(right, visible, seed=3) != bootstrap_interval(right, visible, seed=4)
    generator = torch.Generator().manual_seed(3)
    assert bootstrap_interval(right, visible, seed=generator) == bootstrap_interval(right, visible, seed=3)
    assert bootstrap_interval(right, visible, seed=generator) != bootstrap_interval(right, visible, seed=3)


def good() -> dict[str, torch.Tensor]:
    return {
        "pred": torch.zeros(3, 4, 2),
        "target": torch.zeros(3, 4, 2),
        "visible": torch.ones(3, 4, dtype=torch.bool),
        "size": torch.ones(3),
    }


def spoilt(name: str, index: tuple, value: float) -> torch.Tensor:
    tensor = good()[name]
    tensor[index] = value
    return tensor


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pred": torch.zeros(3, 4)}, "pred is \\(3, 4\\); it holds x and y"),
        ({"pred": torch.zeros(3, 4, 3)}, "pred is \\(3, 4, 3\\)"),
        ({"target": torch.zeros(3, 5, 2)}, "target is \\(3, 5, 2\\); for pred of \\(3, 4, 2\\) it is \\(3, 4, 2\\)"),
        ({"visible": torch.ones(3, dtype=torch.bool)}, "visible is \\(3,\\)"),
        ({"visible": torch.ones(3, 4)}, "visible is torch.float32; pass torch.bool"),
        ({"size": torch.ones(3, 1)}, "size is \\(3, 1\\)"),
        ({"pred": spoilt("pred", (1, 2, 0), math.nan)}, "pred\\[1, 2\\] is \\[nan, 0.0\\]"),
        ({"target": spoilt("target", (2, 3, 1), math.inf)}, "target\\[2, 3\\] is \\[0.0, inf\\]"),
        ({"size": spoilt("size", (1,), 0.0)}, "size\\[1\\] is 0.0"),
        ({"size": spoilt("size", (2,), -1.0)}, "size\\[2\\] is -1.0"),
        ({"size": spoilt("size", (0,), math.nan)}, "size\\[0\\] is nan"),
        ({"size": spoilt("size", (0,), math.inf)}, "size\\[0\\] is inf"),
    ],
)
def test_bad_poses_are_named(wrong: dict, message: str) -> None:
    poses = good() | wrong
    with pytest.raises(ValueError, match=message):
        normalized_errors(**poses)
    with pytest.raises(ValueError, match=message):
        mirrored_joints(**poses, mirror=(0, 1, 2, 3), threshold=0.5)
    if "size" not in wrong:
        with pytest.raises(ValueError, match=message):
            correct_parts(poses["pred"], poses["target"], poses["visible"], [(0, 1)])


@pytest.mark.parametrize("threshold", [0.0, -0.1, math.nan, math.inf])
def test_impossible_thresholds(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold is"):
        correct_joints(torch.zeros(1, 1), threshold)
    with pytest.raises(ValueError, match="limit is"):
        auc_thresholds(threshold)


def test_other_impossible_arguments() -> None:
    poses = good()
    nobody = torch.zeros(3, 4, dtype=torch.bool)
    for score in (weighted_mean, plain_mean, bootstrap_interval):
        with pytest.raises(ValueError, match="no joint is visible"):
            score(nobody, nobody)
    with pytest.raises(ValueError, match="no joint is visible"):
        area_under_curve(torch.zeros(3, 4), nobody, 0.5)
    with pytest.raises(ValueError, match="limit is 0.125"):
        auc_thresholds(0.125)
    for mirror in (0, 1, 2), (1, 2, 3, 0), (0, 1, 2, 9):
        with pytest.raises(ValueError, match="exchanges pairs of the 4 joints"):
            mirrored_joints(**poses, mirror=mirror, threshold=0.5)
    for parts in [], [(0, 4)], [(-1, 0)]:
        with pytest.raises(ValueError, match="pairs the 4 joints"):
            correct_parts(poses["pred"], poses["target"], poses["visible"], parts)
    for arguments in {"level": 1.0}, {"level": 0.0}, {"resamples": 0}:
        with pytest.raises(ValueError, match="level is"):
            bootstrap_interval(poses["visible"], poses["visible"], **arguments)
