"""Which part of a photo a sample of ImageNet shows, and what kinds of photos there are."""

import struct

import cv2
import numpy as np
import pytest
import torch
from fakes import WNIDS, write_imagenet

from datamodules.imagenet import samples as imagenet_samples
from datamodules.imagenet.layouts import find_images
from datamodules.imagenet.samples import MEAN, STD, ImageNetSamples


def grey(images):
    """Grey values 0 to 255 of normalised images."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return 255 * (images * std + mean)


def single(tmp_path, raw, size=32, **kwargs):
    """Samples of one photo."""
    path = write_imagenet(tmp_path, train=1) / "train" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG"
    path.write_bytes(raw)
    return ImageNetSamples(find_images(tmp_path, 1)[1], size, **kwargs)


def jpeg(pixels):
    return cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()


def turned(raw, orientation):
    body = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return raw[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + raw[2:]


def gradient(height, width):
    """Red tells the column, from 0 to 255, green the row."""
    y, x = np.mgrid[:height, :width]
    return np.dstack([255 * x / (width - 1), 255 * y / (height - 1), 0 * x]).astype(np.uint8)


def test_the_centre_is_cut_out_of_the_resized_photo(tmp_path):
    samples = single(tmp_path, jpeg(gradient(448, 896)), size=112)
    image = grey(samples[0][0])
    # the shorter side becomes 128, of which 112 remain; of the longer, 112 of 256
    for channel, axis, share in (0, 1, 112 / 256), (1, 0, 112 / 128):
        ramp = image[channel].mean(1 - axis)
        assert float(ramp[0]) == pytest.approx(255 * (0.5 - share / 2), abs=2.5)
        assert float(ramp[-1]) == pytest.approx(255 * (0.5 + share / 2), abs=2.5)
    assert image[2].max() < 6


def test_random_parts_are_what_their_draw_says_at_any_reduction(tmp_path, monkeypatch):
    raw = jpeg(gradient(600, 900))
    samples = single(tmp_path, raw, augment=True, seed=3)
    reductions, decode = [], imagenet_samples.decode_photo

    def watched(*args, reduction=1, **kwargs):
        reductions.append(reduction)
        return decode(*args, reduction=reduction, **kwargs)

    monkeypatch.setattr(imagenet_samples, "decode_photo", watched)
    reduced = torch.stack([samples[epoch, 0][0] for epoch in range(60)])
    assert set(reductions) == {4, 8}  # the parts have sides of 200 to 750 px, for crops of 32
    monkeypatch.setattr(imagenet_samples, "_largest_reduction", lambda *_: 1)
    whole = torch.stack([samples[epoch, 0][0] for epoch in range(60)])
    assert (grey(reduced) - grey(whole)).abs().mean() < 2
    assert (grey(reduced) - grey(whole)).abs().max() < 12


def test_random_parts_follow_the_law(tmp_path):
    samples = single(tmp_path, jpeg(gradient(300, 400)), augment=True)
    images = grey(torch.stack([samples[epoch, 0][0] for epoch in range(400)]))
    columns, rows = images[:, 0].mean(1), images[:, 1].mean(2)
    mirrored = columns[:, 0] > columns[:, -1]
    width, height = 400 / 255 * (columns[:, -1] - columns[:, 0]).abs(), 300 / 255 * (rows[:, -1] - rows[:, 0])
    area, ratio = width * height / (300 * 400), width / height
    assert 150 < mirrored.sum() < 250
    assert 0.06 < area.min() < 0.15
    assert area.max() < 1.01
    assert 0.70 < ratio.min() < 0.85
    assert 1.2 < ratio.max() < 1.40
    assert 0.38 < area.mean() < 0.56


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (6, -1), (3, 2), (8, 1)])
@pytest.mark.parametrize("augment", [False, True])
def test_exif_orientation_is_followed(tmp_path, orientation, turns, augment):
    upright = gradient(600, 400)
    stored = np.ascontiguousarray(np.rot90(upright, -turns))
    samples = single(tmp_path, turned(jpeg(stored), orientation), augment=augment)
    images = grey(torch.stack([samples[epoch, 0][0] for epoch in range(20)]))
    columns, rows = images[:, 0].mean(1), images[:, 1].mean(2)
    assert (rows[:, -1] > rows[:, 0] + 20).all()  # never upside down or on its side
    assert (images[:, 1].mean(1).std(1) < 8).all()
    if not augment:
        assert (columns[:, -1] > columns[:, 0] + 20).all()


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (90, 1), (20, 30), (2000, 40)])
def test_small_and_narrow_photos_are_enlarged(tmp_path, shape, augment):
    samples = single(tmp_path, jpeg(np.full((*shape, 3), 90, np.uint8)), augment=augment)
    for epoch in range(5):
        assert (grey(samples[epoch, 0][0]) - 90).abs().max() < 4


@pytest.mark.parametrize("augment", [False, True])
def test_grey_photos_and_other_formats(tmp_path, augment):
    grey_jpeg = cv2.imencode(".jpg", np.full((300, 300), 90, np.uint8))[1].tobytes()
    png = cv2.imencode(".png", np.full((301, 303, 3), 90, np.uint8))[1].tobytes()  # ImageNet has one, named .JPEG
    for n, raw in enumerate((grey_jpeg, png)):
        samples = single(tmp_path / str(n), raw, augment=augment)
        for epoch in range(5):
            assert (grey(samples[epoch, 0][0]) - 90).abs().max() < 3


def test_cmyk_photos(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the CMYK file")
    path = tmp_path / "red.jpg"
    image.new("CMYK", (300, 200), (0, 255, 255, 0)).save(path)
    samples = single(tmp_path / "set", path.read_bytes(), augment=True)
    red, *others = grey(samples[0][0]).mean((1, 2)).tolist()
    assert red > 200
    assert max(others) < 60
