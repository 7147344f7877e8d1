"""ImageNet, its parts, and Tiny ImageNet, from their files as they are distributed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ..files.image_files import ImageFiles
from ..loading.arguments import check_at_least, renamed
from ..loading.counters import numpy_generator
from ..loading.datamodule import SplitDataModule
from ..loading.hold_out import hold_out
from .layouts import find_images
from .samples import ImageNetSamples


class ImageNetDataModule(SplitDataModule[ImageFiles]):
    """Photos of a thousand kinds of things, or of fewer.

    Every loader yields `(images, labels)`: float32 (B, 3, input_size, input_size), RGB, normalised by the usual mean
    and standard deviation, and int64 (B,), positions in `class_names`. Training shows a random part of each photo, 8
    to 100 % of its area, half of them mirrored; otherwise the shorter side is resized to 256/224 of `input_size`, and
    the centre cut out. Smaller photos are enlarged. The training order and every crop depend on `seed`, epoch and
    photo alone, and go on after a resume where they stopped.

    Validation uses the data set's validation images, or, with `val_size`, as many training images, which `seed`
    alone chooses. Testing and predicting use the data set's validation images, class by class: those of its test
    are not labelled.

    Args:
        root: the data set's folder, in one of the layouts of `imagenet.layouts.find_images`.
        input_size: px of a crop's side; 64 for Tiny ImageNet.
        batch_size: samples per batch and process; the last batch of an epoch may be smaller.
        num_workers: processes that prepare batches.
        val_size: number of training images held out for validation.
        classes: which classes, in the order of their labels, or how many of them; None for all, ordered by name.
        damaged: what about files that are no image: "error" when one of them is met, "check" all of them before
            anything else, which takes as long as to read them all, or also leave them out: "skip", with one warning.
        seed: chooses the held-out images, the training order and the crops.
        size: the deprecated name of `input_size`.

    Raises:
        ValueError: an argument is out of range; or in `setup`, the files are not as they should be, or with
            "check", damaged.
        FileNotFoundError: in `setup`, something is missing.

    Reference:
        Szegedy et al., "Going deeper with convolutions", 2015, section 6, for the random parts.
    """

    def __init__(
        self,
        root: str | Path = "data/imagenet",
        *,
        input_size: int = 224,
        batch_size: int = 64,
        num_workers: int = 0,
        val_size: int = 0,
        classes: Sequence[str] | int | None = None,
        damaged: Literal["error", "check", "skip"] = "error",
        seed: int = 0,
        size: int | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        input_size = renamed("size", size, "input_size", input_size)
        check_at_least(1, input_size=input_size)
        check_at_least(0, val_size=val_size)
        if damaged not in ("error", "check", "skip"):
            raise ValueError(f"damaged is {damaged!r}; pass 'error', 'check' or 'skip'")
        self.root, self.input_size, self.val_size = Path(root), input_size, val_size
        self.classes, self.damaged = classes, damaged
        self.class_names: list[str] = []

    def read(self) -> dict[str, ImageFiles]:
        """Return the photos of "train" and, if there are any, of "val" and "test"."""
        self.class_names, train, val = find_images(self.root, self.classes)
        splits = {"train": self._without_damaged(train)}
        if val is not None:
            splits["val"] = splits["test"] = self._without_damaged(val)
        count = len(splits["train"])
        order = numpy_generator(self.seed).permutation(count)
        rows = hold_out(self.val_size, order, f"{self.root} has {count} training images")
        return splits | {name: splits["train"].take(rows[name]) for name in rows}

    def samples(self, name: str) -> ImageNetSamples:
        """Return the crops of the photos of one split."""
        self.setup()
        if name not in self._splits:
            raise FileNotFoundError(f"{self.root} has no validation images; put them there, as val/<class>/*.JPEG")
        return ImageNetSamples(self.split(name), self.input_size, augment=name == "train", seed=self.seed)

    def _without_damaged(self, files: ImageFiles) -> ImageFiles:
        """Return the files, or with `damaged="skip"` those that are images; they are checked unless it is "error"."""
        damaged = files.find_damaged(max(1, self.num_workers)) if self.damaged != "error" else {}
        if not damaged:
            return files
        problem = (
            f"{len(damaged)} of {len(files)} images in {files.source} are damaged, the first: {min(damaged.items())[1]}"
        )
        if self.damaged == "check" or len(damaged) == len(files):
            raise ValueError(f"{problem}; replace them, or pass damaged='skip'")
        warnings.warn(f"{problem}; they are left out", stacklevel=2)
        return files.take(np.setdiff1d(np.arange(len(files)), list(damaged)))
