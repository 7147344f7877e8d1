"""CIFARImages: pictures in memory, fetched in whole batches, as bytes or as what a network is fed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..loading.counters import random_bits
from .crop_and_flip import crop_and_flip

Batch = tuple[Tensor, Tensor]
Raw = tuple[Tensor, ...]
Key = int | tuple[int, int]


class Transform(Protocol):
    """What is used of an albumentations transform; a single one or a `Compose`."""

    def set_random_state(self, random_generator: np.random.Generator, py_random: random.Random, /) -> None:
        """Takes the generators that decide the following calls."""

    def __call__(self, *, image: np.ndarray) -> dict[str, Any]:
        """Returns a dict with the "image", uint8 (32, 32, 3), for one like it."""


@dataclass(frozen=True)
class Finish:
    """Turns bytes into what a network is fed, on whichever device they are.

    Attributes:
        mean: grey values / 255 of the channels that become 0.
        std: how many of them become 1.
        seed: with epoch and index, decides what the augmentation draws.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    seed: int

    def __call__(self, images: Tensor, labels: Tensor, keys: Tensor | None = None) -> Batch:
        """Returns images, float32 (B, 3, 32, 32), and their labels.

        Args:
            images: uint8 (B, 3, 32, 32).
            labels: (B,).
            keys: epochs and indices (B, 2) of images to crop and flip at random; the padding shows the mean
                colour, in whole grey values, which becomes about 0.
        """
        mean, std = (255 * torch.tensor(values, device=images.device) for values in (self.mean, self.std))
        if keys is not None:
            images = crop_and_flip(images, random_bits(self.seed, keys[:, 0], keys[:, 1]), mean.round())
        return images.float().sub_(mean[:, None, None]).div_(std[:, None, None]), labels


class CIFARImages(Dataset[Raw]):
    """Images and labels in memory.

    Args:
        images: uint8 (N, 3, 32, 32), RGB.
        labels: int64 (N,).
        finish: makes batches of floats of them; None leaves that to who gets the bytes and labels, and where
            `augment` is true also epochs and indices (B, 2).
        augment: False for nothing, True for `crop_and_flip`, or an albumentations transform to apply to each image.
        seed: with epoch and index, decides what that transform draws.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, finish: Finish | None, augment: bool | Transform = False, seed: int = 0
    ) -> None:
        self.images, self.labels, self.finish, self.augment, self.seed = images, labels, finish, augment, seed

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.labels)

    def __getitem__(self, key: Key) -> Raw:
        """Returns one sample: an index, or (epoch, index) for other augmentations than those of epoch 0."""
        return tuple(values[0] for values in self.__getitems__([key]))

    def __getitems__(self, keys: Sequence[Key]) -> Raw:
        """Returns a batch, given indices or (epoch, index) pairs."""
        pairs = torch.tensor([key if isinstance(key, tuple) else (0, key) for key in keys]).view(-1, 2)
        index = pairs[:, 1]
        images, labels = self.images[index], self.labels[index]
        raw: Raw = (images, labels)
        if self.augment is True:
            raw = images, labels, pairs
        elif self.augment:
            raw = self._transformed(images, pairs, self.augment), labels
        return self.finish(*raw) if self.finish else raw

    def _transformed(self, images: Tensor, pairs: Tensor, transform: Transform) -> Tensor:
        changed = []
        for image, (epoch, index) in zip(images.permute(0, 2, 3, 1).numpy(), pairs.tolist(), strict=True):
            generator = np.random.default_rng([self.seed, epoch, index])
            transform.set_random_state(generator, random.Random(int(generator.integers(2**63))))
            result = transform(image=np.ascontiguousarray(image))["image"]
            if result.dtype != np.uint8 or result.shape != image.shape:
                raise ValueError(
                    f"augment made {result.dtype} {result.shape} of an image; leave out what changes uint8 (32, 32, 3)"
                )
            changed.append(result)
        return torch.from_numpy(np.stack(changed)).permute(0, 3, 1, 2).contiguous()
