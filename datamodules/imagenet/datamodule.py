"""ImageNet, its parts, and Tiny ImageNet, from their files as they are distributed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from ..files.image_files import ImageFiles
from ..files.photos import photo_batches
from ..loading.ordering import EpochSampler, ResumableDataLoader, training_loader
from .layouts import find_images
from .samples import Batch, ImageNetSamples


class ImageNetDataModule(pl.LightningDataModule):
    """Photos of a thousand kinds of things, or of fewer.

    Every loader yields `(images, labels)`: float32 (B, 3, size, size), RGB, normalised by the usual mean and
    standard deviation, and int64 (B,), places in `class_names`. Training shows a random part of each photo, 8 to
    100 % of its area, half of them mirrored; otherwise the shorter side is resized to 256/224 of `size`, and the
    centre cut out. Smaller photos are enlarged. The training order and every crop depend on `seed`, epoch and photo
    alone, and go on after a resume where they stopped, given the same `batch_size` and
    `Trainer(limit_train_batches)`.

    Validation uses the data set's validation images, or, with `val_size`, as many training images, which `seed`
    alone chooses. Testing and predicting use the data set's validation images: those of its test are not labelled.

    Args:
        root: the data set's folder, in one of the layouts of `imagenet_layouts.find_images`.
        size: px of a crop's side; 64 for Tiny ImageNet.
        batch_size: samples per batch and process; the last batch of an epoch may be smaller.
        num_workers: processes that prepare batches.
        val_size: number of training images held out for validation.
        classes: which classes, in the order of their labels, or how many of them; None for all, ordered by name.
        damaged: what about files that are no image: "error" when one of them is met, "check" all of them before
            anything else, which takes as long as to read them all, or also leave them out: "skip", with one warning.
        seed: chooses the held-out images, the training order and the crops.

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
        size: int = 224,
        batch_size: int = 64,
        num_workers: int = 0,
        val_size: int = 0,
        classes: Sequence[str] | int | None = None,
        damaged: Literal["error", "check", "skip"] = "error",
        seed: int = 0,
    ) -> None:
        super().__init__()
        least = {"size": 1, "batch_size": 1, "num_workers": 0, "val_size": 0, "seed": 0}
        for name, value in zip(least, (size, batch_size, num_workers, val_size, seed), strict=True):
            if value < least[name]:
                raise ValueError(f"{name} is {value}; pass {least[name]} or more.")
        if damaged not in ("error", "check", "skip"):
            raise ValueError(f"damaged is {damaged!r}; pass 'error', 'check' or 'skip'")
        self.root, self.size, self.batch_size, self.num_workers = Path(root), size, batch_size, num_workers
        self.val_size, self.classes, self.damaged, self.seed = val_size, classes, damaged, seed
        self.class_names: list[str] = []
        self._splits: dict[str, ImageFiles] = {}

    def setup(self, stage: str | None = None) -> None:
        """Finds the images, once."""
        if self._splits:
            return
        self.class_names, train, val = find_images(self.root, self.classes)
        splits = {"train": self._checked(train)}
        if val is not None:
            splits["val"] = splits["test"] = self._checked(val)
        if self.val_size >= len(splits["train"]):
            raise ValueError(
                f"val_size is {self.val_size}, but {self.root} has {len(splits['train'])} training images; "
                "pass a smaller one."
            )
        if self.val_size:
            order = np.random.default_rng(self.seed).permutation(len(splits["train"]))
            held_out, kept = np.sort(order[: self.val_size]), np.sort(order[self.val_size :])
            splits["val"], splits["train"] = splits["train"].take(held_out), splits["train"].take(kept)
        self._splits = splits

    def train_dataloader(self) -> ResumableDataLoader:
        """Returns the shuffled, augmented batches of this process."""
        data = ImageNetSamples(self._files("train"), self.size, augment=True, seed=self.seed)
        return training_loader(data, EpochSampler, self, seed=self.seed, **self._options())

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Returns the validation batches in a fixed order, or [] when there are none."""
        self.setup()
        return self._ordered("val") if "val" in self._splits else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Returns the batches of the data set's validation images, class by class."""
        return self._ordered("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Returns the batches of the data set's validation images, class by class."""
        return self._ordered("test")

    def _files(self, split: str) -> ImageFiles:
        self.setup()
        if split not in self._splits:
            raise FileNotFoundError(f"{self.root} has no validation images; put them there, as val/<class>/*.JPEG")
        return self._splits[split]

    def _checked(self, files: ImageFiles) -> ImageFiles:
        damaged = files.damaged(max(1, self.num_workers)) if self.damaged != "error" else {}
        if not damaged:
            return files
        first = (
            f"{len(damaged)} of {len(files)} images in {files.place} are damaged, the first: {min(damaged.items())[1]}"
        )
        if self.damaged == "check" or len(damaged) == len(files):
            raise ValueError(f"{first}; replace them, or pass damaged='skip'")
        warnings.warn(f"{first}; they are left out", stacklevel=2)
        return files.take(np.setdiff1d(np.arange(len(files)), list(damaged)))

    def _ordered(self, split: str) -> DataLoader[Batch]:
        return DataLoader(ImageNetSamples(self._files(split), self.size), **self._options())

    def _options(self) -> dict[str, Any]:
        return photo_batches(self.batch_size, self.num_workers)
