"""Heatmap targets and their loss: loops that do the same slowly, and what must hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_modules.pose.heatmaps import encode, encode_legacy, heatmap_loss, mirror_heatmaps

MIRROR = [1, 0, 2, 4, 3]


def some_joints(seed: int, joints: int = 5, low: float = -40, high: float = 100) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    positions = torch.rand(3, joints, 2, generator=generator) * (high - low) + low
    return positions, torch.rand(3, joints, generator=generator) < 0.8


def slow(joints: np.ndarray, visible: np.ndarray, size: tuple[int, int], stride: int, sigma: float, legacy: bool):
    heatmaps, weights = np.zeros((*visible.shape, *size)), np.zeros(visible.shape)
    for b, k in np.ndindex(visible.shape):
        x, y = ((joints[b, k] + 0.5) / stride - 0.5) if not legacy else [int(v / stride + 0.5) for v in joints[b, k]]
        reach = 3 * sigma
        inside = -reach <= x <= size[1] - 1 + reach and -reach <= y <= size[0] - 1 + reach
        weights[b, k] = visible[b, k] and inside
        for row, column in np.ndindex(*size):
            if legacy and max(abs(row - y), abs(column - x)) > reach:
                continue
            heatmaps[b, k, row, column] = math.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))
    return heatmaps, weights


@given(st.integers(0, 99), st.sampled_from([1, 3, 4, 8]), st.sampled_from([1.0, 2.0]), st.booleans())
def test_targets_agree_with_a_loop(seed: int, stride: int, sigma: float, legacy: bool) -> None:
    joints, visible = some_joints(seed)
    function = encode_legacy if legacy else encode
    heatmaps, weights = function(joints, visible, (9, 7), stride=stride, sigma=sigma)
    expected, counted = slow(joints.double().numpy(), visible.numpy(), (9, 7), stride, sigma, legacy)
    np.testing.assert_array_equal(weights.numpy(), counted)
    counts = counted.astype(bool)
    np.testing.assert_allclose(heatmaps.numpy()[counts], expected[counts], atol=1e-4)
    assert heatmaps.isfinite().all()
    assert heatmaps.dtype == weights.dtype == torch.float32


def test_the_centre_of_a_cell_is_the_centre_of_its_pixels() -> None:
    at = torch.tensor([[[4 * 3 + 1.5, 4 * 2 + 1.5]]])  # of px 12 to 15 and 8 to 11
    heatmaps, _ = encode(at, torch.tensor([[True]]), (6, 6))
    assert heatmaps[0, 0, 2, 3] == heatmaps.max() == 1
    torch.testing.assert_close(heatmaps[0, 0, 2, 2], heatmaps[0, 0, 2, 4])
    torch.testing.assert_close(heatmaps[0, 0, 2, 3 + 2], torch.tensor(math.exp(-0.5)))


def test_joints_that_are_not_annotated_may_be_anything() -> None:
    joints = torch.tensor([[[math.nan, 3.0], [-1.0, -1.0], [1e30, math.inf], [math.nan, 1.0]]])
    visible = torch.tensor([[False, False, True, True]])
    heatmaps, weights = encode(joints, visible, (4, 4))
    assert heatmaps.isfinite().all()
    assert weights.tolist() == [[0, 0, 0, 0]]


@given(st.integers(0, 99))
def test_mirrored_heatmaps_are_those_of_mirrored_joints(seed: int) -> None:
    joints, visible = some_joints(seed, low=0, high=32)
    heatmaps, weights = encode(joints, visible, (8, 10))
    flipped = torch.stack([40 - 1 - joints[..., 0], joints[..., 1]], dim=2)[:, MIRROR]
    expected, flipped_weights = encode(flipped, visible[:, MIRROR], (8, 10))
    torch.testing.assert_close(
        mirror_heatmaps(heatmaps, MIRROR) * flipped_weights[..., None, None],
        expected * flipped_weights[..., None, None],
    )
    assert torch.equal(weights[:, MIRROR], flipped_weights)
    assert torch.equal(mirror_heatmaps(mirror_heatmaps(heatmaps, MIRROR), MIRROR), heatmaps)


@pytest.mark.parametrize("mirror", [[0, 1], [1, 2, 0], [0, 1, 3], [0, 0, 1], [0, 1, -1]])
def test_impossible_mirrors(mirror: list[int]) -> None:
    with pytest.raises(ValueError, match="mirror is"):
        mirror_heatmaps(torch.zeros(1, 3, 2, 2), mirror)


LEVELS = [(2, 3), (4, 6), (8, 12)]


@given(st.integers(0, 99))
def test_loss_agrees_with_a_loop(seed: int) -> None:
    joints, visible = some_joints(seed, low=-20, high=80)
    levels = [torch.randn(3, 5, *size, generator=torch.Generator().manual_seed(seed)) for size in LEVELS]
    expected = 0.0
    for heatmaps, stride, sigma in zip(levels, (16, 8, 4), (1.0, 1.5, 2.0), strict=True):
        targets, weights = slow(joints.double().numpy(), visible.numpy(), heatmaps.shape[2:], stride, sigma, False)
        errors = [
            ((heatmaps[b, k].double().numpy() - targets[b, k]) ** 2).sum() / (math.pi * sigma**2)
            for b, k in np.argwhere(weights)
        ]
        expected += np.mean(errors) if errors else 0.0
    assert float(heatmap_loss(levels, joints, visible)) == pytest.approx(expected, rel=1e-4)


def test_zeros_cost_one_a_level_at_any_resolution_and_the_targets_nothing() -> None:
    joints, visible = torch.full((2, 3, 2), 130.3), torch.ones(2, 3, dtype=torch.bool)
    sigmas, strides = (1.0, 1.5, 2.0), (16, 8, 4)
    zeros = [torch.zeros(2, 3, 256 // s, 256 // s) for s in strides]
    assert float(heatmap_loss(zeros, joints, visible)) == pytest.approx(3, rel=1e-3)
    assert float(heatmap_loss(zeros[:1], joints, visible, strides=[16], sigmas=[1])) == pytest.approx(1, rel=1e-3)
    perfect = [
        encode(joints, visible, (256 // s, 256 // s), stride=s, sigma=sigma)[0]
        for s, sigma in zip(strides, sigmas, strict=True)
    ]
    assert heatmap_loss(perfect, joints, visible) == 0


def test_what_is_not_annotated_costs_nothing_and_leaves_gradients_of_zero() -> None:
    level = torch.randn(1, 2, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    joints = torch.tensor([[[math.nan, math.nan], [5.0, 5.0]]])
    loss = heatmap_loss([level], joints, torch.tensor([[False, False]]), strides=[4], sigmas=[2.0])
    assert loss == 0
    assert loss.dtype == torch.float32
    loss.backward()
    assert level.grad is not None
    assert not level.grad.any()
    heatmap_loss([level], joints, torch.tensor([[False, True]]), strides=[4], sigmas=[2.0]).backward()
    assert not level.grad[:, 0].any()
    assert level.grad[:, 1].all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": (4,)}, "1 levels?|3 levels, 1 strides"),
        ({"levels": []}, "0 levels"),
        ({"strides": (4, 8, 16)}, r"strides \(4, 8, 16\)"),
        ({"joints": torch.zeros(1, 4, 2)}, "joints and visible"),
        ({"visible": torch.ones(1, 4, dtype=torch.bool)}, "heatmaps and visible"),
        ({"visible": torch.ones(1, 5)}, "visible is torch.float32"),
        ({"sigmas": (1.0, 0.0, 2.0)}, "sigma 0.0"),
    ],
)
def test_what_does_not_fit(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "levels": [torch.zeros(1, 5, *size) for size in LEVELS],
        "joints": torch.zeros(1, 5, 2),
        "visible": torch.ones(1, 5, dtype=torch.bool),
    }
    with pytest.raises(ValueError, match=message):
        heatmap_loss(**(arguments | changes))
