"""Drawn figures as a data set of poses that needs no files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..loading.arguments import check_at_least
from .augmentation import PoseAugmentation
from .crop import image_box
from .datamodule import PoseDataModule
from .drawn_figures import DrawnFigures
from .people import People
from .skeletons import LSP_SKELETON, torso_sizes


class SyntheticPoseDataModule(PoseDataModule):
    """Drawn people with LSP's 14 joints: a pose data set for tests, demonstrations and first trials.

    Batches are described in `PoseSamples`; `size` is the torso, left shoulder to right hip. Every joint is
    labelled. A person's left and right cannot be told from the limbs, only from the face, the white line down
    the front of the shirt, and the panel on its back. Training, validation and test figures are drawn from
    different random streams of `seed`; the crop is the image.

    Args:
        train_size: number of training figures.
        val_size: number of validation figures.
        test_size: number of test figures.
        input_size: px of the side of a drawn image.
        augmentation: figures vary by themselves, so none is the default.
        loading: see `PoseDataModule`.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> data = SyntheticPoseDataModule(train_size=4, test_size=2, input_size=64)
        >>> batch = next(iter(data.test_dataloader()))
        >>> batch["image"].shape, batch["joints"].shape
        (torch.Size([2, 3, 64, 64]), torch.Size([2, 14, 2]))
    """

    def __init__(
        self,
        *,
        train_size: int = 8192,
        val_size: int = 0,
        test_size: int = 512,
        input_size: int = 128,
        augmentation: PoseAugmentation | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(input_size=input_size, augmentation=augmentation, **loading)
        check_at_least(1, train_size=train_size, test_size=test_size)
        check_at_least(0, val_size=val_size)
        self.counts = {"train": train_size, "val": val_size, "test": test_size}

    def read(self) -> dict[str, People]:
        """Return the people of "train" and "test" and, unless `val_size` is 0, of "val"."""
        streams = enumerate(self.counts.items())
        return {split: self._draw(split, stream, count) for stream, (split, count) in streams if count}

    def _draw(self, split: str, stream: int, count: int) -> People:
        figures = DrawnFigures(count, self.input_size, (self.seed, stream))
        joints = figures.joints()
        return People(
            LSP_SKELETON,
            figures,
            [f"{split} figure {n}" for n in range(count)],
            joints,
            np.ones(joints.shape[:2], bool),
            torso_sizes(joints),
            np.tile(image_box(self.input_size, self.input_size), (count, 1)),
        )
