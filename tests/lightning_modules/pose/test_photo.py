"""The crop of a photo, against pixels moved by hand and the crops that data modules make."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_modules.pose.photo import crop, map_points, square_around


@pytest.mark.parametrize("box", [None, (20.0, 10.0, 60.0, 50.0), (30.0, -5.0, 70.0, 45.0)])
@pytest.mark.parametrize("size", [16, 64, 200])
def test_a_bright_pixel_is_where_the_map_says(box, size: int) -> None:
    photo = torch.zeros(64, 96, 3, dtype=torch.uint8)
    photo[28:33, 43:48] = 255  # centred at (45, 30)
    image, to_photo = crop(photo, box, size)
    weight = (image[0, 0] + 1) / 2
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centroid = torch.stack([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    found = map_points(centroid[None], to_photo)[0]
    assert torch.allclose(found, torch.tensor([45.0, 30.0]), atol=0.15 * max(1.0, float(to_photo[0, 0])))


def test_a_whole_pixel_crop_copies_the_photo() -> None:
    photo = torch.randint(0, 256, (32, 32, 3), generator=torch.Generator().manual_seed(0)).byte()
    image, to_photo = crop(photo, None, 32)
    assert torch.allclose(image[0].permute(1, 2, 0), photo / 127.5 - 1, atol=1e-4)
    assert torch.allclose(to_photo, torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), atol=1e-6)


def test_grey_is_three_equal_channels_and_outside_is_black() -> None:
    photo = torch.full((10, 30), 200, dtype=torch.uint8)
    image, _ = crop(photo, None, 30)
    assert torch.equal(image[0, 0], image[0, 1])
    assert torch.equal(image[0, 0], image[0, 2])
    assert (image[0, 0, :9] == -1).all()
    assert torch.allclose(image[0, 0, 11:19], torch.tensor(200 / 127.5 - 1))


def test_a_large_photo_is_averaged_rather_than_sampled() -> None:
    checkered = torch.zeros(640, 640, dtype=torch.uint8)
    checkered[::2, ::2] = checkered[1::2, 1::2] = 255
    image, _ = crop(checkered, None, 64)
    assert image.abs().max() < 0.05


def test_one_pixel_is_a_photo() -> None:
    image, to_photo = crop(torch.full((1, 1, 3), 255, dtype=torch.uint8), None, 8)
    assert image.isfinite().all()
    assert torch.allclose(map_points(torch.tensor([[3.5, 3.5]]), to_photo), torch.zeros(1, 2), atol=1e-5)


def test_the_square_of_a_box() -> None:
    assert square_around(None, 100, 50) == (24.5, 49.5, 100.0)
    assert square_around((10, 20, 30, 60), 100, 50) == (20, 40, 50)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((10, 10, 10, 20), "empty"),
        ((30, 10, 10, 20), "empty"),
        ((100, 10, 120, 20), "outside the photo of 50 x 100 px"),
        ((-20, -20, -1, -1), "outside the photo"),
        ((0, 0, 10), "left, top, right, bottom"),
        ((0, 0, float("nan"), 10), "left, top, right, bottom"),
    ],
)
def test_boxes_that_cannot_be(box, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        crop(torch.zeros(100, 50, 3, dtype=torch.uint8), box, 8)


@pytest.mark.parametrize(
    "photo",
    [
        torch.zeros(10, 10, 3),
        torch.zeros(10, 10, 4, dtype=torch.uint8),
        torch.zeros(3, 10, 10, dtype=torch.uint8),
        torch.zeros(0, 10, 3, dtype=torch.uint8),
        torch.zeros(10, dtype=torch.uint8),
    ],
    ids=["float", "four channels", "channels first", "empty", "a row"],
)
def test_photos_that_cannot_be(photo: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="uint8"):
        crop(photo, None, 8)


def test_transform_is_the_affine_map() -> None:
    matrix = torch.tensor([[[2.0, 1.0, 5.0], [0.0, 3.0, -1.0]]])
    points = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]])
    assert np.allclose(map_points(points, matrix), [[[9, 5], [5, -1]]])


def test_mixed_precision_does_not_reach_the_geometry() -> None:
    photo = torch.randint(0, 256, (90, 70, 3), generator=torch.Generator().manual_seed(0)).byte()
    points = torch.tensor([[101.3, 57.9], [640.2, 88.8]])
    image, to_photo = crop(photo, None, 32)
    with torch.autocast("cpu", torch.bfloat16):
        same, to_same = crop(photo, None, 32)
        assert torch.equal(map_points(points, to_same), map_points(points.clone(), to_photo))
        assert map_points(points, to_same).dtype == torch.float32
    assert torch.equal(image, same)
    assert torch.equal(to_photo, to_same)
