import struct

import cv2
import numpy as np
import pytest
import torch

from datamodules.files.photos import Photos, decode_photo, read_photo, to_input

RGB = np.array(
    [[[250, 10, 20], [10, 240, 30]], [[5, 15, 230], [200, 190, 180]], [[0, 0, 0], [255, 255, 255]]], np.uint8
)


def encoded(pixels, suffix=".png"):
    return cv2.imencode(suffix, pixels)[1].tobytes()


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(RGB[..., ::-1]))
    return path


def turned(pixels, orientation):
    """A JPEG with an EXIF orientation."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    jpeg, body = encoded(pixels, ".jpg"), b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def test_colours_are_rgb(png):
    assert np.array_equal(read_photo(png), RGB)
    assert np.array_equal(Photos([png])[0], RGB)
    assert np.array_equal(Photos([png], memory=0)[0], RGB)


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((4, 5), 90, np.uint8),
        np.full((4, 5), 90 * 257, np.uint16),
        np.dstack([np.full((4, 5, 3), 90, np.uint8), np.zeros((4, 5), np.uint8)]),
        np.full((1, 1), 90, np.uint8),
    ],
    ids=["grey", "16 bit", "transparent", "one pixel"],
)
def test_every_kind_becomes_rgb(pixels):
    assert np.array_equal(decode_photo(encoded(pixels), "x"), np.full((*pixels.shape[:2], 3), 90, np.uint8))


def test_cmyk():
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the CMYK file")
    import io

    file = io.BytesIO()
    image.new("CMYK", (16, 8), (0, 255, 255, 0)).save(file, "jpeg")  # red, as Pillow stores it
    photo = decode_photo(file.getvalue(), "x")
    assert photo.shape == (8, 16, 3)
    assert (photo[..., 0] > 200).all()
    assert (photo[..., 1:] < 60).all()


def test_exif_orientation_is_followed_on_request(tmp_path):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :8] = 255
    path = tmp_path / "turned.jpg"
    path.write_bytes(turned(pixels, 6))  # shown turned clockwise by 90 degrees
    stored, upright = Photos([path])[0], read_photo(path)
    assert stored.shape == (16, 32, 3)
    assert stored[2, 2].min() > 200
    assert upright.shape == (32, 16, 3)
    assert upright[2, -3].min() > 200
    assert read_photo(path, upright=False).shape == (16, 32, 3)


@pytest.mark.parametrize("content", [b"", b"no image", turned(RGB, 1)[:200]], ids=["empty", "text", "cut off"])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad.jpg is no image, or damaged"):
        read_photo(path)
    if content:
        with pytest.raises(ValueError, match=r"bad.jpg is no image, or damaged"):
            Photos([path])[0]
    else:
        with pytest.raises(ValueError, match=r"bad.jpg is empty"):
            Photos([path])


def test_images_too_large_for_opencv_are_named():
    header = struct.pack("<2sIIIIiiHHIIIIII", b"BM", 200, 0, 54, 40, 2**20, 2**20, 1, 24, 0, 0, 0, 0, 0, 0)
    with pytest.raises(ValueError, match=r"huge.bmp cannot be decoded|huge.bmp is no image"):
        decode_photo(header + bytes(200), "huge.bmp")


def test_missing_files_are_counted_and_named(png):
    with pytest.raises(FileNotFoundError, match=r"2 images are missing, the first of them .*first.png"):
        Photos([png, png.with_name("first.png"), png.with_name("second.png"), png.with_name("first.png")])
    with pytest.raises(FileNotFoundError):
        read_photo(png.with_name("first.png"))


def test_photos_in_memory_are_read_once(tmp_path, png):
    other = tmp_path / "other.png"
    other.write_bytes(encoded(np.full((4, 4, 3), 7, np.uint8)))
    photos = Photos([png, other, png])
    png.unlink(), other.unlink()
    assert len(photos) == 3
    assert np.array_equal(photos[2], RGB)
    assert (photos[1] == 7).all()


def test_no_photos():
    assert len(Photos([])) == 0


def test_network_input():
    planes = to_input(RGB[None])
    assert planes.shape == (1, 3, 3, 2)
    assert planes.is_contiguous()
    assert (planes.min(), planes.max()) == (-1, 1)
    expected = torch.tensor(RGB.astype(np.float64)).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(planes[0].double(), expected)
