import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.pose.crop import cut_out, image_box, inverse_map, map_points, map_to_crop, mpii_box, person_box

boxes = st.tuples(st.floats(-50, 2000), st.floats(-50, 2000), st.floats(5, 3000))
points = st.lists(st.tuples(st.floats(-3000, 3000), st.floats(-3000, 3000)), min_size=1, max_size=16)
angles = st.floats(-180, 180)


def sampled(photo, matrix, size):
    """Linear interpolation, pixel by pixel; black outside."""
    padded = np.pad(photo.astype(float), ((size, size), (size, size), (0, 0)))
    out = np.zeros((size, size, 3))
    back = inverse_map(matrix)
    for v in range(size):
        for u in range(size):
            x, y = back @ [u, v, 1] + size
            if not (0 <= x < padded.shape[1] - 1 and 0 <= y < padded.shape[0] - 1):
                continue
            i, j = int(y), int(x)
            a, b = y - i, x - j
            out[v, u] = (1 - a) * ((1 - b) * padded[i, j] + b * padded[i, j + 1]) + a * (
                (1 - b) * padded[i + 1, j] + b * padded[i + 1, j + 1]
            )
    return out


@given(boxes, st.integers(8, 512), angles, st.booleans(), points)
def test_there_and_back(box, size, angle, mirrored, joints):
    forward = map_to_crop(box, size, angle=angle, mirrored=mirrored)
    joints = np.array(joints)
    assert np.abs(map_points(map_points(joints, forward), inverse_map(forward)) - joints).max() < 1e-6


@given(boxes, st.integers(8, 512), angles, points)
def test_mirroring_is_seen_from_the_crop(box, size, angle, joints):
    plain, mirrored = (
        map_points(np.array(joints), map_to_crop(box, size, angle=angle, mirrored=m)) for m in (False, True)
    )
    np.testing.assert_allclose(mirrored, plain * [-1, 1] + [size - 1, 0], atol=1e-6)


@given(boxes, st.integers(8, 512), angles, st.booleans())
def test_centre_and_lengths(box, size, angle, mirrored):
    forward = map_to_crop(box, size, angle=angle, mirrored=mirrored)
    np.testing.assert_allclose(map_points(np.array(box[:2]), forward), [(size - 1) / 2] * 2, atol=1e-6)
    linear = forward[:, :2] * box[2] / size
    np.testing.assert_allclose(linear @ linear.T, np.eye(2), atol=1e-9)
    assert np.linalg.det(linear) == pytest.approx(-1 if mirrored else 1)


def test_edges_meet_edges():
    forward = map_to_crop([9.5, 4.5, 10], 40)  # px 5 to 14, and 0 to 9
    np.testing.assert_allclose(map_points(np.array([[4.5, -0.5], [14.5, 9.5]]), forward), [[-0.5, -0.5], [39.5, 39.5]])


def test_positive_angles_turn_clockwise():
    up = np.array([50.0, 30.0])
    np.testing.assert_allclose(map_points(up, map_to_crop([50, 50, 100], 100, angle=90)), [69.5, 49.5])


def test_a_crop_of_the_whole_square_is_the_photo_and_its_mirror_image():
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    assert np.array_equal(cut_out(photo, map_to_crop(image_box(32, 32), 32), 32), photo)
    assert np.array_equal(cut_out(photo, map_to_crop(image_box(32, 32), 32, mirrored=True), 32), photo[:, ::-1])
    quarter = cut_out(photo, map_to_crop(image_box(32, 32), 32, angle=90), 32)
    assert np.abs(quarter.astype(int) - np.rot90(photo, -1)).max() <= 1


def test_pixels_are_interpolated_linearly():
    photo = np.random.default_rng(1).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    forward = map_to_crop([14.2, 8.7, 26.0], 24, angle=33, mirrored=True)
    difference = np.abs(cut_out(photo, forward, 24) - sampled(photo, forward, 24))
    assert difference.mean() < 1.5  # OpenCV rounds positions to 1/32 px
    assert difference.max() < 16


@given(angles, st.booleans(), st.floats(5, 27), st.floats(5, 27))
def test_a_dot_goes_where_its_joint_goes(angle, mirrored, x, y):
    rows, columns = np.mgrid[:32, :32]
    dot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4.5)
    photo = np.repeat(dot[..., None], 3, 2).round().astype(np.uint8)
    forward = map_to_crop([15.0, 16.0, 60.0], 96, angle=angle, mirrored=mirrored)
    weights = cut_out(photo, forward, 96)[..., 0].astype(float)
    v, u = np.mgrid[:96, :96]
    seen = np.array([(weights * u).sum(), (weights * v).sum()]) / weights.sum()
    assert np.abs(seen - map_points(np.array([x, y]), forward)).max() < 0.1


def test_boxes_of_the_data_sets():
    np.testing.assert_allclose(mpii_box([594.0, 257.0], 3.021046), [594, 257 + 15 * 3.021046, 250 * 3.021046])
    assert image_box(60, 150).tolist() == [29.5, 74.5, 150]
    joints = np.array([[10.0, 20], [30, 80], [-500, 900]])
    assert person_box(joints, np.array([True, True, False])).tolist() == pytest.approx([20, 50, 1.32 * 60])


@pytest.mark.parametrize(
    ("joints", "visible", "message"),
    [
        ([[1.0, 2], [3, 4]], [False, False], "no labelled joint"),
        ([[1.0, 2], [3, 4]], [True, False], "lie at"),
        ([[1.0, math.nan], [3, 4]], [True, True], "not finite"),
    ],
)
def test_nothing_to_crop_around(joints, visible, message):
    with pytest.raises(ValueError, match=message):
        person_box(np.array(joints), np.array(visible))


@pytest.mark.parametrize("box", [(5, 5, 0), (5, 5, -1), (5, 5, math.nan), (math.inf, 5, 1), (5, 5, math.inf)])
def test_no_box(box):
    with pytest.raises(ValueError, match="box is .* pass the centre and a positive side"):
        map_to_crop(box, 8)


@pytest.mark.parametrize("centre", [(-20, 10), (45, 10), (15, -14), (15, 40)])
def test_a_box_outside_the_photo(centre):
    with pytest.raises(ValueError, match=r"lies outside the photo of 30x20 px"):
        cut_out(np.zeros((20, 30, 3), np.uint8), map_to_crop([*centre, 20], 8), 8)
    cut_out(np.zeros((20, 30, 3), np.uint8), map_to_crop([*centre, 60], 8), 8)
