"""The random parts of photos are those that albumentations draws, which drew them in earlier versions."""

import albumentations
import cv2
import numpy as np
import pytest

from datamodules.imagenet.random_crop import random_box
from datamodules.loading.counters import python_generator

SHAPES = [(375, 500), (500, 375), (64, 64), (1, 1), (1, 90), (90, 1), (20, 30), (2000, 40), (37, 2048), (3, 5)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_parts_and_what_follows_are_those_of_albumentations(shape):
    photo = np.random.default_rng(shape).integers(0, 256, (*shape, 3), np.uint8)
    transform = albumentations.RandomResizedCrop((32, 32), p=1)
    for epoch in range(40):
        ours, theirs = python_generator(0, epoch, 7), python_generator(0, epoch, 7)
        left, top, right, bottom = random_box(*shape, ours)
        assert 0 <= left < right <= shape[1]
        assert 0 <= top < bottom <= shape[0]
        crop = cv2.resize(photo[top:bottom, left:right], (32, 32), interpolation=cv2.INTER_LINEAR)
        transform.set_random_state(np.random.default_rng(0), theirs)
        np.testing.assert_array_equal(crop, transform(image=photo)["image"])
        assert ours.getstate() == theirs.getstate()


def test_golden_parts():
    boxes = [random_box(375, 500, python_generator(0, epoch, 5)) for epoch in range(3)]
    assert boxes == [(76, 1, 461, 334), (67, 6, 475, 357), (155, 5, 441, 225)]
