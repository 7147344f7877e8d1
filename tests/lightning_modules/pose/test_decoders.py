"""Decoders undo the encoders, as exactly as they can, and put up with any heatmap that is finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_modules.pose.decoders import DARK, Argmax, Decoder, QuarterOffset, SoftArgmax
from lightning_modules.pose.heatmaps import encode, encode_legacy, mirror_heatmaps

DECODERS = [Argmax(), QuarterOffset(), DARK(), SoftArgmax()]
H, W = 20, 24
YES = torch.tensor([[True]])


def error_in_cells(decoder: Decoder, x: float, y: float, *, stride: int = 4, sigma: float = 2.0) -> float:
    joint = torch.tensor([[[x, y]]]) * stride + (stride - 1) / 2
    heatmaps, _ = encode(joint, YES, (H, W), stride=stride, sigma=sigma)
    joints, scores = decoder(0.3 * heatmaps, stride)
    assert 0.3 * math.exp(-0.25 / sigma**2) - 1e-5 <= float(scores) <= 0.3 + 1e-5
    return float((joints - joint).abs().max()) / stride


@given(st.floats(0, W - 1), st.floats(0, H - 1), st.integers(1, 8))
def test_round_trip_within_half_a_cell_anywhere(x: float, y: float, stride: int) -> None:
    assert error_in_cells(Argmax(), x, y, stride=stride) <= 0.5 + 1e-4


@given(st.floats(6, W - 7), st.floats(6, H - 7), st.sampled_from([1.0, 1.5]), st.integers(1, 8))
def test_round_trip_is_far_tighter_within_a_cell(x: float, y: float, sigma: float, stride: int) -> None:
    assert error_in_cells(SoftArgmax(), x, y, sigma=sigma, stride=stride) < 0.1
    assert error_in_cells(SoftArgmax(), x, y, stride=stride) < 0.05


@given(st.floats(10, W - 11), st.floats(9, H - 10), st.sampled_from([1.0, 1.5, 2.0]))
def test_dark_is_exact_for_gaussians(x: float, y: float, sigma: float) -> None:
    assert error_in_cells(DARK(), x, y, sigma=sigma) < 0.01


@given(st.floats(0, W - 1), st.floats(0, H - 1), st.sampled_from([DARK(), DARK(7), SoftArgmax(), SoftArgmax(20.0)]))
def test_at_the_border_no_worse_than_a_cell(x: float, y: float, decoder: Decoder) -> None:
    assert error_in_cells(decoder, x, y) < 1


def test_dark_resolves_what_an_oblique_gaussian_needs_all_derivatives_for() -> None:
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    dx, dy = x - 19.3, y - 20.4
    heatmaps = torch.exp(-(dx**2 + 1.2 * dx * dy + dy**2) / 8)[None, None]
    torch.testing.assert_close(DARK()(heatmaps, 1)[0], torch.tensor([[[19.3, 20.4]]]), rtol=0, atol=0.01)


def test_dark_takes_no_step_to_a_saddle() -> None:
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    heatmaps = sum(0.9 * torch.exp(-((x - centre) ** 2 + (y - 20) ** 2) / 18) for centre in (14, 24))
    heatmaps[20, 18] = 1.0  # a spike in the valley between, whose middle is 19
    assert DARK()(heatmaps[None, None], 1)[0].tolist() == [[[18.0, 20.0]]]


def test_dark_floors_what_has_no_logarithm() -> None:
    heatmaps = torch.zeros(1, 1, 9, 9)
    heatmaps[0, 0, 4, 4:6] = torch.tensor([1.0, 0.5])
    x, y = DARK(3)(heatmaps, 1)[0].flatten().tolist()
    assert 4 < x < 4.5
    assert y == pytest.approx(4)


@given(st.floats(2, 4 * W - 8), st.floats(2, 4 * H - 8))
def test_legacy_round_trip_within_half_a_cell_and_a_quarter(x: float, y: float) -> None:
    heatmaps, _ = encode_legacy(torch.tensor([[[x, y]]]), YES, (H, W))
    joints, _ = QuarterOffset()(heatmaps)
    assert float((joints - torch.tensor([x, y])).abs().max()) <= 4 * 0.5 + 1e-4, "symmetric: no offset"


@pytest.mark.parametrize(
    ("cell", "left", "right", "expected"),
    [
        (5, 0.5, 0.6, 5.25),
        (5, 0.6, 0.5, 4.75),
        (5, 0.5, 0.5, 5.0),
        (2, 0.5, 0.6, 2.25),
        (1, 0.5, 0.6, 1.0),
        (W - 2, 0.6, 0.5, W - 2.25),
        (W - 1, 0.6, 0.0, W - 1.0),
    ],
)
def test_quarter_offsets(cell: int, left: float, right: float, expected: float) -> None:
    heatmaps = torch.zeros(1, 1, H, W)
    for column, value in ((cell - 1, left), (cell, 1.0), (cell + 1, right)):
        if column < W:
            heatmaps[0, 0, 7, column] = value
    assert QuarterOffset()(heatmaps)[0].tolist() == [[[4 * expected, 4 * 7.0]]]
    assert QuarterOffset()(heatmaps - 2)[0].tolist() == [[[0.0, 0.0]]], "nothing positive"


@pytest.mark.parametrize("decoder", DECODERS)
@given(values=arrays(np.float32, (1, 2, 6, 7), elements=st.floats(-3, 3, width=32)), power=st.sampled_from([-6, 0, 6]))
def test_any_finite_heatmap_gives_joints_in_the_image(decoder: Decoder, values: np.ndarray, power: int) -> None:
    heatmaps = torch.from_numpy(values) * 10.0**power
    joints, scores = decoder(heatmaps)
    assert joints.shape == (1, 2, 2)
    assert joints.dtype == scores.dtype == torch.float32
    assert bool((joints >= 0).all())
    assert bool((joints <= torch.tensor([4 * 7 - 1, 4 * 6 - 1])).all())
    assert torch.equal(scores, heatmaps.amax((2, 3)))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("value", [0.0, -1.0, 0.7])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 8)])
def test_flat_heatmaps(decoder: Decoder, value: float, size: tuple[int, int]) -> None:
    joints, scores = decoder(torch.full((2, 3, *size), value))
    assert bool(joints.isfinite().all())
    assert bool((joints <= 4 * 2).all()), "near the first cell"
    assert bool((scores == torch.tensor(value)).all())


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_heatmaps_that_are_not_finite(decoder: Decoder, value: float) -> None:
    heatmaps = torch.zeros(2, 3, 4, 4)
    heatmaps[1, 2, 3, 0] = value
    with pytest.raises(ValueError, match=r"joints \[2\] are not finite"):
        decoder(heatmaps)


def test_heatmaps_of_another_shape() -> None:
    for shape in ((3, 4, 4), (1, 3, 0, 4)):
        with pytest.raises(ValueError, match="they are"):
            Argmax()(torch.zeros(shape))


@pytest.mark.parametrize("decoder", [Argmax(), DARK(), SoftArgmax()])
def test_the_mirror_image_has_the_mirrored_joints(decoder: Decoder) -> None:
    torch.manual_seed(0)
    joints = torch.rand(8, 2, 2) * torch.tensor([4 * W - 40, 4 * H - 40]) + 20
    heatmaps, _ = encode(joints, torch.ones(8, 2, dtype=torch.bool), (H, W))
    found, _ = decoder(heatmaps)
    flipped, _ = decoder(mirror_heatmaps(heatmaps, [1, 0]))
    expected = torch.stack([4 * W - 1 - found[..., 0], found[..., 1]], dim=2)[:, [1, 0]]
    torch.testing.assert_close(flipped, expected, rtol=0, atol=1e-3)


def test_a_second_person_does_not_pull() -> None:
    joints = torch.tensor([[[30.0, 30.0], [80.0, 60.0]]])
    (first, second), _ = encode(joints, torch.ones(1, 2, dtype=torch.bool), (H, W))[0][0], None
    found, _ = SoftArgmax()((first + 0.95 * second)[None, None])
    assert float((found - joints[:, :1]).abs().max()) < 0.4


@pytest.mark.parametrize("arguments", [{"kernel": 10}, {"kernel": 1}])
def test_impossible_kernels(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="kernel is"):
        DARK(**arguments)


@pytest.mark.parametrize("arguments", [{"beta": 0.0}, {"beta": math.nan}, {"radius": 0}])
def test_impossible_windows(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="both are positive"):
        SoftArgmax(**arguments)


@pytest.mark.parametrize("decoder", [Argmax(), QuarterOffset(), DARK(), SoftArgmax()], ids=repr)
def test_mixed_precision_does_not_reach_the_joints(decoder: Decoder) -> None:
    joints = torch.tensor([[[101.3, 57.9], [40.2, 88.8]]])
    heatmaps, _ = encode(joints, torch.ones(1, 2, dtype=torch.bool), (40, 40))
    expected, _ = decoder(heatmaps)
    with torch.autocast("cpu", torch.bfloat16):
        found, scores = decoder(heatmaps)
    assert found.dtype == scores.dtype == torch.float32
    assert torch.equal(found, expected)
