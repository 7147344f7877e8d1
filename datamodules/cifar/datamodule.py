"""CIFAR-10 and CIFAR-100, from their official files, served in whole batches from memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..files.downloads import fetch
from ..loading.ordering import EpochSampler, ResumableDataLoader, training_loader, whole_batches
from .images import CIFARImages, Finish, Raw, Transform
from .official_files import CIFAR10_FILES, CIFAR100_FILES, CIFARFiles


class CIFAR10DataModule(pl.LightningDataModule):
    """Small pictures of ten kinds of things: 50,000 images to train on and 10,000 to test with.

    Every batch that a module sees is `(images, labels)`: float32 (B, 3, 32, 32), RGB, normalised by mean and
    standard deviation of the training images' channels, and int64 (B,). `val_size` training images, chosen by
    `seed` alone, are held out for validation. The training order and every augmentation depend on `seed`, epoch
    and image alone, and go on after a resume where they stopped, given the same `batch_size` and
    `Trainer(limit_train_batches)`. Predicting uses the test images.

    Args:
        root: folder of `cifar-10-batches-py` (of CIFAR-100: `cifar-100-python`) or of its official archive,
            which `prepare_data` fetches when there is neither.
        verify: whether the files must be the official ones (md5); their structure is checked in any case. Code
            in them is never run.
        batch_size: samples per batch and process; the last batch of an epoch may be smaller.
        num_workers: processes that prepare batches; 0 is fastest, unless `augment` is a slow transform.
        val_size: number of held-out training images; with 0 there is no validation.
        augment: whether training images are padded by 4 px of the mean colour, randomly cropped and mirrored; or
            an albumentations transform of uint8 (32, 32, 3) images, which then happens instead.
        on_device: whether loaders yield bytes, uint8, which are augmented and normalised on the module's device.
            Then only a Trainer makes of them what is said above.
        seed: chooses the held-out images, the training order and the augmentation.

    Raises:
        ValueError: an argument is out of range; or in `prepare_data` and `setup`, a file is damaged.
        FileNotFoundError: in `setup`, a file is missing, or in `prepare_data`, also could not be fetched.

    Reference:
        He et al., "Deep residual learning for image recognition", 2016, section 4.2, for the augmentation; there
        the mean of each pixel is subtracted. The code of RigL mirrors the border instead, and normalises each
        image by itself.
    """

    files: ClassVar[CIFARFiles] = CIFAR10_FILES
    mean: ClassVar[tuple[float, float, float]] = (0.4914, 0.4822, 0.4465)
    std: ClassVar[tuple[float, float, float]] = (0.2470, 0.2435, 0.2616)

    def __init__(
        self,
        root: str | Path = "data",
        *,
        verify: bool = True,
        batch_size: int = 128,
        num_workers: int = 0,
        val_size: int = 5000,
        augment: bool | Transform = True,
        on_device: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        least = {"batch_size": 1, "num_workers": 0, "val_size": 0, "seed": 0}
        for name, value in zip(least, (batch_size, num_workers, val_size, seed), strict=True):
            if value < least[name]:
                raise ValueError(f"{name} is {value}; pass {least[name]} or more.")
        self.root, self.verify = Path(root), verify
        self.batch_size, self.num_workers = batch_size, num_workers
        self.val_size, self.seed = val_size, seed
        self.augment, self.on_device = augment, on_device
        self.finish = Finish(self.mean, self.std, seed)
        self._files: dict[str, tuple[Tensor, Tensor]] = {}
        self._splits: dict[str, CIFARImages] = {}

    def prepare_data(self) -> None:
        """Fetches the archive if the folder's files are missing; files that are damaged stay, and are an error."""
        try:
            self._read()
        except (FileNotFoundError, ValueError) as problem:
            if not self.files.missing(self.root):
                raise
            fetch([self.files.url], self.files.md5, self.root / self.files.archive, problem)
            self._read()

    def setup(self, stage: str | None = None) -> None:
        """Reads the files into memory, once."""
        if self._splits:
            return
        images, labels = self._read()["train"]
        if self.val_size >= len(images):
            raise ValueError(
                f"val_size is {self.val_size}, but {self.root} holds {len(images)} training images; pass a smaller one."
            )
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.seed))
        finish = None if self.on_device else self.finish
        val, train = order[: self.val_size].sort().values, order[self.val_size :].sort().values
        self._splits = {
            "train": CIFARImages(images[train], labels[train], finish, self.augment, self.seed),
            "val": CIFARImages(images[val], labels[val], finish),
            "test": CIFARImages(*self._files["test"], finish),
        }
        self._files = {}

    def train_dataloader(self) -> ResumableDataLoader:
        """Returns the shuffled, augmented batches of this process."""
        self.setup()
        return training_loader(self._splits["train"], EpochSampler, self, seed=self.seed, **self._options())

    def val_dataloader(self) -> DataLoader[Raw] | list[DataLoader[Raw]]:
        """Returns the held-out batches in a fixed order, or [] with `val_size=0`."""
        return self._ordered("val") if self.val_size else []

    def test_dataloader(self) -> DataLoader[Raw]:
        """Returns the test batches in the order of the file."""
        return self._ordered("test")

    def predict_dataloader(self) -> DataLoader[Raw]:
        """Returns the test batches in the order of the file."""
        return self._ordered("test")

    def on_after_batch_transfer(self, batch: Raw, dataloader_idx: int) -> Raw:
        """Augments and normalises a batch of bytes where it now lies."""
        return self.finish(*batch) if batch[0].dtype == torch.uint8 else batch

    def _read(self) -> dict[str, tuple[Tensor, Tensor]]:
        if not self._files:
            self._files = self.files.read(self.root, verify=self.verify)
        return self._files

    def _ordered(self, split: str) -> DataLoader[Raw]:
        self.setup()
        return DataLoader(self._splits[split], **self._options())

    def _options(self) -> dict[str, Any]:
        return whole_batches(self.batch_size, self.num_workers)


class CIFAR100DataModule(CIFAR10DataModule):
    """Small pictures of a hundred kinds of things, the fine labels; the rest is as for `CIFAR10DataModule`."""

    files = CIFAR100_FILES
    mean = (0.5071, 0.4865, 0.4409)
    std = (0.2673, 0.2564, 0.2762)
