"""Drawn figures: articulated people with exact joints, made from numbers alone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ..files.photos import Photo
from ..loading.counters import numpy_generator
from .crop import LSP_MARGIN, Floats
from .skeletons import LSP_SKELETON

SHIFT = 4  # cv2 takes positions in 1/16 px


@dataclass(frozen=True, eq=False)
class Figure:
    """A pose: the joints (14, 2) in LSP's order, in px of the image, and whether the face is towards us."""

    joints: Floats
    facing: bool


def random_figure(size: int, generator: np.random.Generator) -> Figure:
    """Return a figure in the middle of a size x size image, whose longer side is about 1 / 1.32 of it.

    It stands upright, give or take 20 degrees (standard deviation), and is seen from the front or from behind; joints
    bend within ranges that people manage.
    """
    facing = bool(generator.random() < 0.5)
    lean, tilt, sway = generator.normal(0, np.radians((20, 12, 8)))
    trunk, shoulder, hip, head = generator.normal((0.52, 0.17, 0.10, 0.28), (0.03, 0.02, 0.012, 0.015))
    thigh, shin, upper, fore = generator.normal((0.44, 0.42, 0.29, 0.26), 0.02)
    turn = generator.uniform(0.65, 1)  # narrower when turned aside
    joints = np.empty((14, 2))
    middle = np.zeros(2)
    joints[12] = trunk * _direction(lean + np.pi)
    joints[13] = joints[12] + head * _direction(lean + tilt + np.pi)
    across = _direction(lean + np.pi / 2) * turn
    # side +1 is on the right of the image: the person's left when facing us
    for side, leg, arm in (1, (3, 4, 5), (9, 10, 11)), (-1, (2, 1, 0), (8, 7, 6)):
        joints[leg[0]] = middle + side * hip * across
        joints[arm[0]] = joints[12] * 0.96 + side * shoulder * across
        swing = lean + sway + side * np.radians(generator.uniform(-8, 55))
        joints[leg[1]] = joints[leg[0]] + thigh * _direction(swing)
        joints[leg[2]] = joints[leg[1]] + shin * _direction(swing - side * np.radians(generator.uniform(-10, 60)))
        raised = lean + side * np.radians(generator.uniform(5, 150))
        joints[arm[1]] = joints[arm[0]] + upper * _direction(raised)
        joints[arm[2]] = joints[arm[1]] + fore * _direction(raised + side * np.radians(generator.uniform(-70, 110)))
    if not facing:
        joints[:12] = joints[list(LSP_SKELETON.mirror[:12])]
    low, high = joints.min(0), joints.max(0)
    scale = size / LSP_MARGIN / (high - low).max() * generator.uniform(0.9, 1.1)
    centre = (size - 1) / 2 + size * generator.uniform(-0.03, 0.03, 2)
    return Figure((joints - (low + high) / 2) * scale + centre, facing)


def draw_figure(figure: Figure, size: int, generator: np.random.Generator) -> Photo:
    """Return a figure in clothes of random colours before a random background, RGB (size, size, 3)."""
    canvas = _draw_background(size, generator)
    joints = figure.joints
    unit = float(np.linalg.norm(joints[12] - (joints[2] + joints[3]) / 2))  # the trunk
    colours = generator.integers(40, 256, (4, 3)).tolist()
    shirt, trousers, shoes, pack = colours
    skin = (np.array([236, 188, 150]) * generator.uniform(0.45, 1.05)).clip(0, 255).tolist()
    hair = (np.array([90, 60, 40]) * generator.uniform(0.2, 1.6)).tolist()
    for hip, knee, ankle in (2, 1, 0), (3, 4, 5):
        _draw_limb(canvas, joints[[hip, knee]], trousers, 0.22 * unit)
        _draw_limb(canvas, joints[[knee, ankle]], (0.6 * np.array(trousers)).tolist(), 0.17 * unit)
        _draw_disc(canvas, joints[ankle], shoes, 0.11 * unit)
    trunk = joints[[8, 9, 3, 2]]
    cv2.fillConvexPoly(canvas, _fixed_point(trunk), shirt, shift=SHIFT)
    for edge in ([8, 9], [9, 3], [3, 2], [2, 8]):
        _draw_limb(canvas, joints[edge], shirt, 0.14 * unit)
    middle = trunk.mean(0)
    if figure.facing:
        _draw_limb(canvas, np.stack([joints[12], joints[[2, 3]].mean(0)]), [255, 255, 255], 0.06 * unit)
    else:
        cv2.fillConvexPoly(canvas, _fixed_point(middle + 0.75 * (trunk - middle)), pack, shift=SHIFT)
    for shoulder, elbow, wrist in (8, 7, 6), (9, 10, 11):
        _draw_limb(canvas, joints[[shoulder, elbow]], (0.8 * np.array(shirt)).tolist(), 0.16 * unit)
        _draw_limb(canvas, joints[[elbow, wrist]], skin, 0.12 * unit)
        _draw_disc(canvas, joints[wrist], skin, 0.09 * unit)
    _draw_head(canvas, figure, skin if figure.facing else hair, hair)
    return canvas


class DrawnFigures(Dataset[Photo]):
    """A number of figures, each drawn anew when it is asked for, always the same.

    Args:
        count: number of figures.
        size: pixels of an image's side.
        key: numbers that, with the index, decide everything.
    """

    def __init__(self, count: int, size: int, key: tuple[int, ...]) -> None:
        self.count, self.size, self.key = count, size, key

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Photo:
        """Return RGB (size, size, 3)."""
        generator = numpy_generator(*self.key, index)
        return draw_figure(random_figure(self.size, generator), self.size, generator)

    def joints(self) -> Floats:
        """Return the joints of all figures, (count, 14, 2) px."""
        generators = (numpy_generator(*self.key, index) for index in range(self.count))
        return np.array([random_figure(self.size, generator).joints for generator in generators]).reshape(-1, 14, 2)


def _direction(angle: float) -> Floats:
    """Return a direction of length 1: down at an angle of 0, to the right of the image at 90 degrees."""
    return np.array([np.sin(angle), np.cos(angle)])


def _fixed_point(points: Floats) -> NDArray[np.int32]:
    return np.asarray((points * 2**SHIFT).round(), np.int32)


def _draw_limb(canvas: Photo, ends: Floats, colour: list[float], width: float) -> None:
    start, end = _fixed_point(ends).tolist()
    cv2.line(canvas, start, end, colour, max(1, round(width)), cv2.LINE_8, SHIFT)


def _draw_disc(canvas: Photo, centre: Floats, colour: list[float], radius: float) -> None:
    cv2.circle(canvas, _fixed_point(centre).tolist(), round(radius * 2**SHIFT), colour, -1, cv2.LINE_8, SHIFT)


def _draw_head(canvas: Photo, figure: Figure, colour: list[float], hair: list[float]) -> None:
    neck, top = figure.joints[12], figure.joints[13]
    up, length = top - neck, float(np.linalg.norm(top - neck))
    _draw_limb(canvas, np.stack([neck, 0.5 * top + 0.5 * neck]), colour, 0.3 * length)
    _draw_disc(canvas, neck + 0.58 * up, colour, 0.42 * length)
    if figure.facing:
        aside = np.array([-up[1], up[0]])
        brow, eyes = neck + 0.85 * up, neck + 0.62 * up
        _draw_limb(canvas, np.stack([brow - 0.22 * aside, brow + 0.22 * aside]), hair, 0.22 * length)
        for side in (-1, 1):
            _draw_disc(canvas, eyes + 0.17 * side * aside, [20, 20, 20], 0.08 * length)


def _draw_background(size: int, generator: np.random.Generator) -> Photo:
    """Return a smooth gradient, coarse patches or stripes, with grain and shapes that are no limbs."""
    kind, cells = generator.integers(0, 3), int(generator.integers(2, 12))
    shape = ((2, 2), (cells, cells), (1, cells))[kind]
    coarse = generator.integers(0, 200, (*shape, 3), np.uint8)
    canvas = np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
    canvas += np.frombuffer(generator.bytes(canvas.size), np.uint8).reshape(canvas.shape) >> 3  # grain, at most 31
    for _ in range(generator.integers(0, 6)):
        x, y = generator.integers(0, size, 2).tolist()
        w, h = generator.integers(size // 16 + 1, size // 4 + 2, 2).tolist()
        colour = generator.integers(0, 256, 3).tolist()
        if generator.random() < 0.5:
            cv2.rectangle(canvas, (x, y), (x + w, y + h), colour, -1)
        else:
            cv2.ellipse(canvas, (x, y), (w, h), 0, 0, 360, colour, -1)
    return canvas
