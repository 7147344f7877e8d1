"""ImageNetSamples: photos as the square crops that classifiers train on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..files.image_files import ImageFiles
from ..files.jpeg import jpeg_size
from ..files.photos import Photo, Reduction, decode_photo
from ..loading.counters import python_generator
from ..loading.ordering import Key, epochs_and_indices
from ..loading.transforms import Transform, import_albumentations
from .random_crop import random_box

Batch = tuple[Tensor, Tensor]

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
        return len(self.files)

    def __getitem__(self, key: Key) -> Batch:
        """Return one sample: an index, or (epoch, index) for other crops than those of epoch 0."""
        images, labels = self.__getitems__([key])
        return images[0], labels[0]

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """Return a batch, given indices or (epoch, index) pairs."""
        pairs = epochs_and_indices(keys)
        images = torch.empty(len(pairs), 3, self.size, self.size)
        mean, std = (255 * torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        for image, (epoch, index) in zip(images, pairs, strict=True):
            try:
                crop = self._crop_at_random(epoch, index) if self.augment else self._crop_centre(index)
            except ValueError as error:
                raise ValueError(f"{error}, or have it left out with damaged='skip'") from error
            # photo by photo, which stays in the cache, and plane by plane: several times faster than the batch at once
            image.copy_(torch.from_numpy(np.stack(cv2.split(crop)))).sub_(mean).div_(std)
        return images, torch.from_numpy(self.files.labels[[index for _, index in pairs]])

    def _crop_at_random(self, epoch: int, index: int) -> Photo:
        encoded, name = self.files.read(index), self.files.path(index)
        draws = python_generator(self.seed, epoch, index)
        height, width = jpeg_size(encoded) or decode_photo(encoded, name, upright=True).shape[:2]
        left, top, right, bottom = random_box(height, width, draws)
        reduction = _largest_reduction(min(right - left, bottom - top), self.size)
        photo = decode_photo(encoded, name, upright=True, reduction=reduction)
        left, top, right, bottom = (edge // reduction for edge in (left, top, right, bottom))
        if (height < width) != (photo.shape[0] < photo.shape[1]):  # turned by its orientation
            left, top, right, bottom = top, left, bottom, right
        crop = cv2.resize(photo[top:bottom, left:right], (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.flip(crop, 1) if draws.random() < 0.5 else crop, np.uint8)

    def _crop_centre(self, index: int) -> Photo:
        encoded, name = self.files.read(index), self.files.path(index)
        shorter = round(self.size * 256 / 224)
        reduction = _largest_reduction(min(jpeg_size(encoded) or (0,)), shorter)
        photo = decode_photo(encoded, name, upright=True, reduction=reduction)
        return np.asarray(_centre_crop(shorter, self.size)(image=photo)["image"], np.uint8)


def _largest_reduction(have: int, need: int) -> Reduction:
    options: tuple[Reduction, ...] = (8, 4, 2)
    return next((option for option in options if have // option >= need), 1)


@cache
def _centre_crop(shorter: int, size: int) -> Transform:
    """Return the transform that resizes the shorter side and cuts out the square centre."""
    A = import_albumentations()  # noqa: N806  # as everyone calls it
    transform: Transform = A.Compose([A.SmallestMaxSize(shorter), A.CenterCrop(size, size)])
    return transform
