"""CIFARImages: pictures in memory, fetched in whole batches, as bytes or as what a network is fed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..loading.counters import numpy_generator, random_bits
from ..loading.ordering import Key, epochs_and_indices
from ..loading.transforms import Transform, apply_transform
from .crop_and_flip import crop_and_flip

Batch = tuple[Tensor, Tensor]
RawBatch = tuple[Tensor, ...]
"""Images and labels as `CIFARImages` yields them, with what is left to do to them."""


@dataclass(frozen=True)
class Preprocess:
    """The way from bytes to what a network is fed, on whichever device they are.

    Attributes:
        mean: grey values / 255 of the channels that become 0.
        std: how many of them become 1.
        seed: with epoch and index, decides what the augmentation draws.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    seed: int

    def __call__(self, images: Tensor, labels: Tensor, keys: Tensor | None = None) -> Batch:
        """Return images, float32 (B, 3, 32, 32), and their labels.

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


class CIFARImages(Dataset[RawBatch]):
    """Images and labels in memory.

    Args:
        images: uint8 (N, 3, 32, 32), RGB.
        labels: int64 (N,).
        preprocess: makes batches of floats of them; None leaves that to whoever gets the bytes and labels, and
            with `augmentation=True` also epochs and indices (B, 2).
        augmentation: False for nothing, True for `crop_and_flip`, or an albumentations transform to apply to each
            image.
        seed: with epoch and index, decides what that transform draws.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        preprocess: Preprocess | None,
        augmentation: bool | Transform = False,
        seed: int = 0,
    ) -> None:
        self.images, self.labels, self.preprocess = images, labels, preprocess
        self.augmentation, self.seed = augmentation, seed

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: Key) -> RawBatch:
        """Return one sample: an index, or (epoch, index) for other augmentations than those of epoch 0."""
        return tuple(values[0] for values in self.__getitems__([key]))

    def __getitems__(self, keys: Sequence[Key]) -> RawBatch:
        """Return a batch, given indices or (epoch, index) pairs."""
        pairs = torch.tensor(epochs_and_indices(keys)).view(-1, 2)
        index = pairs[:, 1]
        images, labels = self.images[index], self.labels[index]
        batch: RawBatch = (images, labels)
        if self.augmentation is True:
            batch = images, labels, pairs
        elif self.augmentation:
            batch = self._transform(images, pairs, self.augmentation), labels
        return self.preprocess(*batch) if self.preprocess else batch

    def _transform(self, images: Tensor, pairs: Tensor, transform: Transform) -> Tensor:
        results = []
        for image, (epoch, index) in zip(images.permute(0, 2, 3, 1).numpy(), pairs.tolist(), strict=True):
            generator = numpy_generator(self.seed, epoch, index)
            result = apply_transform(transform, np.ascontiguousarray(image), generator)
            if result.dtype != np.uint8 or result.shape != image.shape:
                raise ValueError(
                    f"augmentation made {result.dtype} {result.shape} of an image; "
                    "leave out what changes uint8 (32, 32, 3)"
                )
            results.append(result)
        return torch.from_numpy(np.stack(results)).permute(0, 3, 1, 2).contiguous()
