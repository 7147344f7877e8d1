"""PoseSamples: people as the batches that pose estimators train on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..files.photos import to_input
from ..loading.counters import numpy_generator
from ..loading.ordering import Key, epochs_and_indices
from .augmentation import PoseAugmentation
from .crop import cut_out, inverse_map, map_points, map_to_crop
from .people import People

Batch = dict[str, Tensor]


class PoseSamples(Dataset[Batch]):
    """The crops of people with their joints, fetched in whole batches.

    A batch is a dict of

    - ``image``: float32 (B, 3, size, size), as `photos.to_input` makes it;
    - ``joints``: float32 (B, K, 2), px of the crop, also outside it; 0 where not visible;
    - ``visible``: bool (B, K), whether the joint is labelled and counts; occluded and outside ones do;
    - ``size``: float32 (B,), the length errors are measured in, px of the crop;
    - ``to_image``: float32 (B, 2, 3), the affine map from px of the crop to px of the photo; of a mirrored
      crop it mirrors back, while joint k stays joint `mirror[k]` of the person;
    - ``index``: int64 (B,), the row of the person in `people`.

    Args:
        people: who is shown.
        size: pixels of the crop's side.
        augmentation: how crops vary; None shows each box as it is.
        seed: with epoch and index, decides what the augmentation draws.

    Raises:
        ValueError: `size` is below 1; or, for an item, its photo is damaged or does not show its box.
    """

    def __init__(self, people: People, size: int, augmentation: PoseAugmentation | None = None, seed: int = 0) -> None:
        if size < 1:
            raise ValueError(f"size is {size}; pass 1 or more")
        self.people, self.size, self.augmentation, self.seed = people, size, augmentation, seed

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, key: Key) -> Batch:
        """Return one sample: an index, or (epoch, index) for other augmentations than those of epoch 0."""
        return {name: values[0] for name, values in self.__getitems__([key]).items()}

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """Return a batch, given indices or (epoch, index) pairs."""
        pairs = epochs_and_indices(keys)
        index = np.array([i for _, i in pairs])
        images = np.empty((len(pairs), self.size, self.size, 3), np.uint8)
        joints, visible = np.empty((len(pairs), *self.people.joints.shape[1:])), self.people.visible[index]
        backward, size = np.empty((len(pairs), 2, 3)), np.empty(len(pairs))
        for row, (epoch, i) in enumerate(pairs):
            try:
                images[row], forward, mirrored = self._crop(epoch, i)
            except ValueError as error:
                raise ValueError(f"{self.people.names[i]}: {error}") from error
            order = list(self.people.skeleton.mirror) if mirrored else slice(None)
            joints[row], visible[row] = map_points(self.people.joints[i, order], forward), visible[row, order]
            backward[row] = inverse_map(forward)
            size[row] = self.people.sizes[i] * np.hypot(*forward[:, 0])
        joints[~visible] = 0
        return {
            "image": to_input(images),
            "joints": torch.from_numpy(joints).float(),
            "visible": torch.from_numpy(visible),
            "size": torch.from_numpy(size).float(),
            "to_image": torch.from_numpy(backward).float(),
            "index": torch.from_numpy(index),
        }

    def _crop(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray, bool]:
        people, augmentation = self.people, self.augmentation
        photo, box = people.images[index], people.boxes[index]
        if augmentation is None:
            forward = map_to_crop(box, self.size)
            return cut_out(photo, forward, self.size), forward, False
        generator = numpy_generator(self.seed, epoch, index)
        joints, visible = people.joints[index], people.visible[index]
        box, angle, mirrored = augmentation.draw_geometry(box, joints, visible, people.skeleton, generator)
        forward = map_to_crop(box, self.size, angle=angle, mirrored=mirrored)
        return augmentation.recolour(cut_out(photo, forward, self.size), generator), forward, mirrored
