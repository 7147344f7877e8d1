"""The crop of a person, and the one affine map between the photo and the crop.

Both sides have their origin at the centre of the top-left pixel. A square of side s around c becomes n x n
pixels, edge to edge: u = (x - c) * n / s + (n - 1) / 2. Pixels are areas, so mirroring is u -> n - 1 - u, and a
heatmap of n / 4 cells has its cell centres at (u + 1/2) / 4 - 1/2. Nothing is shifted or rounded anywhere.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..files.photos import Photo

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LSP_MARGIN = 1.32
"""The longer side of an LSP image over the longer side of its person's box of joints (median 1 / 0.756)."""


def person_box(joints: Floats, visible: Bools, margin: float = LSP_MARGIN) -> Floats:
    """Return the square around a person's labelled joints: centre x, centre y, side in px.

    Args:
        joints: (K, 2) px; anything where not visible.
        visible: (K,), whether the joint is labelled.
        margin: the side, in longer sides of the box of joints.

    Raises:
        ValueError: no joint is labelled, one is not finite, or all lie at one point.

    Example:
        >>> person_box(np.array([[0.0, 0.0], [10.0, 4.0], [-99.0, 0.0]]), np.array([True, True, False]), margin=2)
        array([ 5.,  2., 20.])
    """
    if not visible.any():
        raise ValueError("a person has no labelled joint to crop around; leave it out")
    low, high = joints[visible].min(0), joints[visible].max(0)
    if not np.isfinite([low, high]).all():
        raise ValueError("a person has a labelled joint that is not finite; mend the annotation")
    side = margin * (high - low).max()
    if not side > 0:
        raise ValueError(f"all labelled joints of a person lie at {tuple(low)}; leave it out")
    return np.array([*(low + high) / 2, side])


def image_box(width: int, height: int) -> Floats:
    """Return the square around a whole image, which is how LSP's people are cropped: no ground truth enters."""
    return np.array([(width - 1) / 2, (height - 1) / 2, max(width, height)])


def mpii_box(centre: ArrayLike, scale: float) -> Floats:
    """Return the square that all code bases crop from MPII, given its `objpos` (0-based px) and `scale`."""
    x, y = np.asarray(centre, np.float64)
    return np.array([x, y + 15 * scale, 1.25 * 200 * scale])


def map_to_crop(box: ArrayLike, size: int, *, angle: float = 0.0, mirrored: bool = False) -> Floats:
    """Return the affine map (2, 3) from px of the photo to px of the crop.

    Args:
        box: centre x, centre y and side of a square, in px of the photo.
        size: pixels of the crop's side.
        angle: degrees that the content turns about the centre, clockwise on the screen.
        mirrored: whether the turned crop is then mirrored, left to right.

    Raises:
        ValueError: the box is empty or not finite.

    Example:
        >>> map_to_crop([4.5, 4.5, 10], 20)
        array([[2. , 0. , 0.5],
               [0. , 2. , 0.5]])
    """
    x, y, side = np.asarray(box, np.float64).tolist()
    if not (side > 0 and math.isfinite(side + x + y)):
        raise ValueError(f"box is {(x, y, side)}; pass the centre and a positive side")
    cos, sin = (f(math.radians(angle)) * size / side for f in (math.cos, math.sin))
    middle, sign = (size - 1) / 2, -1 if mirrored else 1
    return np.array(
        [
            [sign * cos, 0.0 - sign * sin, middle - sign * (cos * x - sin * y)],
            [sin, cos, middle - (sin * x + cos * y)],
        ]
    )


def inverse_map(matrix: Floats) -> Floats:
    """Return the affine map (2, 3) that leads back."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def map_points(points: Floats, matrix: Floats) -> Floats:
    """Return where an affine map (2, 3) takes points (..., 2)."""
    mapped: Floats = points @ matrix[:, :2].T + matrix[:, 2]
    return mapped


def cut_out(photo: Photo, matrix: Floats, size: int) -> Photo:
    """Return the crop (size, size, 3) of a photo under an affine map from `map_to_crop`; black where the photo ends.

    Interpolates linearly in one pass, as the usual code bases do.

    Raises:
        ValueError: the crop shows nothing of the photo.
    """
    height, width = photo.shape[:2]
    corners = map_points(
        np.array([[-0.5, -0.5], [size - 0.5, -0.5], [-0.5, size - 0.5], [size - 0.5, size - 0.5]]), inverse_map(matrix)
    )
    if (corners.max(0) <= -0.5).any() or (corners.min(0) >= (width - 0.5, height - 0.5)).any():
        (left, top), (right, bottom) = corners.min(0).round(1), corners.max(0).round(1)
        raise ValueError(
            f"the box from ({left}, {top}) to ({right}, {bottom}) lies outside the photo of {width}x{height} px"
        )
    return np.asarray(cv2.warpAffine(photo, matrix, (size, size), flags=cv2.INTER_LINEAR), np.uint8)
