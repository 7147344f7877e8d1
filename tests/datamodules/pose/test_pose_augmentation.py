import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datamodules import LSP_SKELETON, PoseAugmentation

BOX = np.array([50.0, 60.0, 100.0])
JOINTS = np.random.default_rng(0).uniform(20, 80, (14, 2))
ALL = np.ones(14, bool)
STILL = PoseAugmentation(rotation_p=0, scale=0, flip=0, colour=0, blur=0, dropout=0)


def places(augmentation, count=2000, visible=ALL):
    generators = (np.random.default_rng([0, n]) for n in range(count))
    drawn = [augmentation.draw_geometry(BOX, JOINTS, visible, LSP_SKELETON, generator) for generator in generators]
    return np.array([box for box, _, _ in drawn]), np.array([a for _, a, _ in drawn]), np.array([m for *_, m in drawn])


def test_distributions():
    boxes, angles, mirrored = places(PoseAugmentation())
    zoom = 100 / boxes[:, 2]
    assert np.array_equal(boxes[:, :2], np.tile(BOX[:2], (2000, 1)))
    assert (zoom.min(), zoom.max()) == (pytest.approx(0.75), pytest.approx(1.25))
    assert 0.3 < np.isclose(np.abs(zoom - 1), 0.25).mean() < 0.34  # P(|N| > 1) = 0.317
    assert zoom.mean() == pytest.approx(1, abs=0.02)
    assert 0.57 < (angles != 0).mean() < 0.63
    assert np.abs(angles).max() == 60
    assert 27 < angles[angles != 0].std() < 30  # cut off at two standard deviations: 28.8
    assert 0.47 < mirrored.mean() < 0.53


def test_switched_off_nothing_happens():
    boxes, angles, mirrored = places(STILL, 50)
    assert (boxes == BOX).all()
    assert not angles.any()
    assert not mirrored.any()
    crop = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    assert np.array_equal(STILL.recolour(crop, np.random.default_rng(0)), crop)


def test_halves_are_drawn_equally_often():
    boxes, _, _ = places(PoseAugmentation(rotation_p=0, scale=0, flip=0, half_body=0.8))
    kinds, counts = np.unique(boxes.round(6), axis=0, return_counts=True)
    assert len(kinds) == 3
    expected = {"whole": BOX}
    for name, half in ("legs", slice(0, 6)), ("upper", slice(6, 14)):
        low, high = JOINTS[half].min(0), JOINTS[half].max(0)
        expected[name] = np.array([*(low + high) / 2, 1.5 * (high - low).max()])
    for name, box in expected.items():
        share = counts[np.isclose(kinds, box, atol=1e-5).all(1)].sum() / 2000
        assert share == pytest.approx(0.2 if name == "whole" else 0.4, abs=0.04)


def test_halves_with_few_labels_stay_whole():
    two_legs = np.isin(np.arange(14), [0, 5, *range(6, 14)])
    boxes, _, _ = places(PoseAugmentation(rotation_p=0, scale=0, flip=0, half_body=1), 200, two_legs)
    assert len(np.unique(boxes.round(6), axis=0)) == 2
    assert 0.4 < (boxes == BOX).all(1).mean() < 0.6


def test_halves_are_not_blown_up_without_bounds():
    joints = JOINTS.copy()
    joints[:6] = 50 + 0.01 * joints[:6]
    augmentation = PoseAugmentation(scale=0, half_body=1)
    boxes = [augmentation.draw_geometry(BOX, joints, ALL, LSP_SKELETON, np.random.default_rng(n))[0] for n in range(20)]
    assert min(box[2] for box in boxes) == pytest.approx(40)
    joints[:6] = 50
    boxes = [augmentation.draw_geometry(BOX, joints, ALL, LSP_SKELETON, np.random.default_rng(n))[0] for n in range(20)]
    assert any((box == BOX).all() for box in boxes)


def test_pixels_are_decided_by_the_generator():
    crop = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    augmentation = PoseAugmentation(colour=1, blur=1, dropout=1)
    outs = [augmentation.recolour(crop, np.random.default_rng(n)) for n in (1, 2, 1)]
    assert np.array_equal(outs[0], outs[2])
    assert not np.array_equal(outs[0], outs[1])
    assert outs[0].shape == crop.shape
    assert outs[0].dtype == np.uint8


def test_changes_of_pixels_are_independent_of_each_other():
    step = np.full((64, 64, 3), 60, np.uint8)
    step[:, 32:] = 200
    augmentation = PoseAugmentation(colour=0, blur=0.5, dropout=0.5)
    kinds = set()
    for n in range(40):
        out = augmentation.recolour(step, np.random.default_rng(n))
        blurred = ((out > 80) & (out < 180)).any()
        kinds.add((bool(blurred), bool((out == 0).any())))
    assert kinds == {(False, False), (False, True), (True, False), (True, True)}


@pytest.mark.parametrize(
    "values",
    [
        {"flip": 1.1},
        {"rotation_p": -0.1},
        {"half_body": 2},
        {"colour": -1},
        {"blur": 2},
        {"dropout": float("nan")},
        {"rotation": 91},
        {"rotation": -1},
        {"scale": 1},
        {"scale": -0.1},
    ],
    ids=str,
)
def test_out_of_range(values):
    with pytest.raises(ValueError, match=f"{next(iter(values))} is .*; pass"):
        PoseAugmentation(**values)


def test_the_network_is_never_asked_and_other_data_do_not_wait():
    code = """
import sys, urllib.request
urllib.request.build_opener = urllib.request.urlopen = lambda *_: sys.exit("asked the network")
import numpy as np
from datamodules import PoseAugmentation
assert "albumentations" not in sys.modules
PoseAugmentation().recolour(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0))
assert "albumentations" in sys.modules
"""
    environment = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_recolouring_leaves_nothing_behind_that_the_command_line_takes_for_an_argument():
    augmentation = PoseAugmentation(colour=1.0)
    before = dict(vars(augmentation))
    augmentation.recolour(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0))
    assert vars(augmentation) == before
