"""ImageNetSamples: photos as the square crops that classifiers train on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..files.image_files import ImageFiles
from ..files.jpeg import jpeg_size
from ..files.photos import Photo, Reduction, decode_photo, import_albumentations

if TYPE_CHECKING:
    import albumentations  # type: ignore[import-untyped]

Batch = tuple[Tensor, Tensor]
Key = int | tuple[int, int]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Grey values / 255 of the channels that become 0, and how many of them become 1."""


class ImageNetSamples(Dataset[Batch]):
    """Crops and labels, fetched in whole batches: float32 (B, 3, size, size), RGB, normalised, and int64 (B,).

    Photos are turned as their EXIF orientation says. Where the crop is still as large as needed in half, a quarter
    or an eighth of the photo, only that is decoded, which averages its px; the crop's edges then lie on whole px of
    that. The rest of resizing, by less than 2, is bilinear.

    Args:
        files: the photos.
        size: px of the crop's side.
        augment: whether to cut out a random part and mirror half of the photos; otherwise the centre is cut out.
        seed: with epoch and index, decides that part.

    Raises:
        ValueError: for an item, its photo is damaged.
    """

    def __init__(self, files: ImageFiles, size: int, *, augment: bool = False, seed: int = 0) -> None:
        self.files, self.size, self.augment, self.seed = files, size, augment, seed

    def __len__(self) -> int:
        """Returns the number of photos."""
        return len(self.files)

    def __getitem__(self, key: Key) -> Batch:
        """Returns one sample: an index, or (epoch, index) for other crops than those of epoch 0."""
        images, labels = self.__getitems__([key])
        return images[0], labels[0]

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """Returns a batch, given indices or (epoch, index) pairs."""
        pairs = [key if isinstance(key, tuple) else (0, key) for key in keys]
        images = torch.empty(len(pairs), 3, self.size, self.size)
        mean, std = (255 * torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        for image, (epoch, index) in zip(images, pairs, strict=True):
            try:
                photo = self._random(epoch, index) if self.augment else self._centre(index)
            except ValueError as error:
                raise ValueError(f"{error}, or have it left out with damaged='skip'") from error
            # photo by photo, which stays in the cache, and plane by plane: several times faster than the batch at once
            image.copy_(torch.from_numpy(np.stack(cv2.split(photo)))).sub_(mean).div_(std)
        return images, torch.from_numpy(self.files.labels[[index for _, index in pairs]])

    def _random(self, epoch: int, index: int) -> Photo:
        encoded, name = self.files.read(index), self.files.path(index)
        draws = random.Random(f"{self.seed} {epoch} {index}")
        crop = random_crop(self.size)
        crop.set_random_state(crop.random_generator, draws)
        whole = jpeg_size(encoded) or decode_photo(encoded, name, upright=True).shape[:2]
        x1, y1, x2, y2 = crop.get_params_dependent_on_data({"shape": whole}, {})["crop_coords"]
        reduction = _reduction(min(x2 - x1, y2 - y1), self.size)
        photo = decode_photo(encoded, name, upright=True, reduction=reduction)
        box = tuple(edge // reduction for edge in (x1, y1, x2, y2))
        if (whole[0] < whole[1]) != (photo.shape[0] < photo.shape[1]):  # turned by its orientation
            box = box[1], box[0], box[3], box[2]
        pixels = crop.apply(photo, crop_coords=box)
        return np.asarray(cv2.flip(pixels, 1) if draws.random() < 0.5 else pixels, np.uint8)

    def _centre(self, index: int) -> Photo:
        encoded, name = self.files.read(index), self.files.path(index)
        shorter = round(self.size * 256 / 224)
        reduction = _reduction(min(jpeg_size(encoded) or (0,)), shorter)
        photo = decode_photo(encoded, name, upright=True, reduction=reduction)
        return np.asarray(centre_crop(shorter, self.size)(image=photo)["image"], np.uint8)


def _reduction(have: int, need: int) -> Reduction:
    options: tuple[Reduction, ...] = (8, 4, 2)
    return next((option for option in options if have // option >= need), 1)


@cache
def random_crop(size: int) -> albumentations.RandomResizedCrop:
    """8 to 100 % of the area, width to height from 3/4 to 4/3, resized to a square."""
    return import_albumentations().RandomResizedCrop((size, size))


@cache
def centre_crop(shorter: int, size: int) -> albumentations.Compose:
    """The square centre, once the shorter side is resized."""
    A = import_albumentations()  # noqa: N806  # as everyone calls it
    return A.Compose([A.SmallestMaxSize(shorter), A.CenterCrop(size, size)])
