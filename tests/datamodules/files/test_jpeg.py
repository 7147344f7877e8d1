"""Sizes of JPEGs from their headers, and decoding at reduced sizes."""

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.files.jpeg import jpeg_size
from datamodules.files.photos import decode_photo


def smooth(height, width):
    y, x = np.mgrid[:height, :width]
    return np.dstack([255 * x / width, 255 * y / height, 0 * x + 128]).astype(np.uint8)


def jpeg(pixels, *flags):
    return cv2.imencode(".jpg", pixels[..., ::-1] if pixels.ndim == 3 else pixels, flags)[1].tobytes()


@settings(max_examples=20)
@given(st.integers(1, 300), st.integers(1, 300), st.booleans(), st.booleans())
def test_size_is_that_of_the_pixels(height, width, progressive, grey):
    pixels = np.zeros((height, width) if grey else (height, width, 3), np.uint8)
    assert jpeg_size(jpeg(pixels, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive))) == (height, width)


def test_comments_and_thumbnails_before_the_frame_are_passed_over():
    small, raw = jpeg(smooth(8, 8)), jpeg(smooth(20, 30))
    segment = b"\xff\xe1" + struct.pack(">H", len(small) + 2) + small  # holds a frame header of its own
    assert jpeg_size(raw[:2] + segment + b"\xff\xff" + raw[2:][1:]) == (20, 30)


@settings(max_examples=50)
@given(st.binary(max_size=40))
def test_anything_else_has_no_size(raw):
    assert jpeg_size(raw) is None
    cut = jpeg(smooth(8, 8))
    assert jpeg_size(cut[: min(len(raw), 20)] + raw) is None or raw.startswith(b"\xff")


def test_a_frame_without_size_has_none():
    raw = jpeg(smooth(8, 9))
    at = raw.index(b"\xff\xc0") + 5
    assert jpeg_size(raw[:at] + bytes(2) + raw[at + 2 :]) is None
    assert jpeg_size(raw[:at]) is None


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_reduced_photos_show_the_same_in_rgb(reduction):
    pixels = smooth(160, 240)
    photo = decode_photo(jpeg(pixels), "x", reduction=reduction)
    assert photo.shape == (160 // reduction, 240 // reduction, 3)
    expected = cv2.resize(pixels, photo.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(photo.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("reduction", [2, 8])
def test_reduced_grey_photos_become_rgb(reduction):
    photo = decode_photo(jpeg(np.full((32, 48), 90, np.uint8)), "x", reduction=reduction)
    assert photo.shape == (32 // reduction, 48 // reduction, 3)
    assert np.abs(photo.astype(int) - 90).max() < 3
