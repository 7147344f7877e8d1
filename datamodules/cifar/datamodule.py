"""CIFAR-10 and CIFAR-100, from their official files, served in whole batches from memory."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from ..files.downloads import fetch
from ..loading.arguments import check_at_least, renamed
from ..loading.counters import torch_generator
from ..loading.datamodule import SplitDataModule
from ..loading.hold_out import hold_out
from ..loading.transforms import Transform
from .images import CIFARImages, Preprocess, RawBatch
from .official_files import CIFAR10_FILES, CIFAR100_FILES, CIFARFiles


class CIFAR10DataModule(SplitDataModule[CIFARImages]):
    """Small pictures of ten kinds of things: 50,000 images to train on and 10,000 to test with.

    Every batch that a module sees is `(images, labels)`: float32 (B, 3, 32, 32), RGB, normalised by mean and
    standard deviation of the training images' channels, and int64 (B,). The training order and every augmentation
    depend on `seed`, epoch and image alone, and go on after a resume where they stopped. Predicting uses the test
    images.

    Args:
        root: folder of `cifar-10-batches-py` (of CIFAR-100: `cifar-100-python`) or of its official archive.
        verify: whether the files must be the official ones (md5); their structure is checked in any case. Code
            in them is never run.
        download: whether `prepare_data` fetches the archive when there is neither it nor the folder.
        batch_size: samples per batch and process; the last batch of an epoch may be smaller.
        num_workers: processes that prepare batches; 0 is fastest, unless `augmentation` is a slow transform.
        val_size: number of training images held out for validation, chosen by `seed` alone.
        augmentation: whether training images are padded by 4 px of the mean colour, randomly cropped and mirrored;
            or an albumentations transform of uint8 (32, 32, 3) images, which then happens instead.
        on_device: whether loaders yield bytes, uint8, which are augmented and normalised on the module's device.
            Then only a Trainer makes of them what is said above.
        seed: chooses the held-out images, the training order and the augmentation.
        augment: the deprecated name of `augmentation`.

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
        download: bool = True,
        batch_size: int = 128,
        num_workers: int = 0,
        val_size: int = 0,
        augmentation: bool | Transform = True,
        on_device: bool = False,
        seed: int = 0,
        augment: bool | Transform | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        check_at_least(0, val_size=val_size)
        self.root, self.verify, self.download, self.val_size = Path(root), verify, download, val_size
        self.augmentation = renamed("augment", augment, "augmentation", augmentation)
        self.on_device, self.preprocess = on_device, Preprocess(self.mean, self.std, seed)
        self._images: dict[str, tuple[Tensor, Tensor]] = {}

    def prepare_data(self) -> None:
        """Fetch the archive if the folder's files are missing; files that are damaged stay, and are an error."""
        try:
            self._read_files()
        except (FileNotFoundError, ValueError) as problem:
            if not self.download or not self.files.missing(self.root):
                raise
            fetch([self.files.url], self.files.md5, self.root / self.files.archive, problem)
            self._read_files()

    def read(self) -> dict[str, CIFARImages]:
        """Return the images of "train" and "test" and, unless `val_size` is 0, of "val"."""
        images, labels = self._read_files()["train"]
        order = torch.randperm(len(images), generator=torch_generator(self.seed)).numpy()
        rows = hold_out(self.val_size, order, f"{self.root} holds {len(images)} training images")
        preprocess = None if self.on_device else self.preprocess
        splits = {
            name: CIFARImages(images[part], labels[part], preprocess, name == "train" and self.augmentation, self.seed)
            for name, part in rows.items()
        }
        splits["test"] = CIFARImages(*self._images["test"], preprocess)
        self._images = {}
        return splits

    def on_after_batch_transfer(self, batch: RawBatch, dataloader_idx: int) -> RawBatch:
        """Augment and normalise a batch of bytes where it now lies."""
        return self.preprocess(*batch) if batch[0].dtype == torch.uint8 else batch

    def _read_files(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the images and labels of "train" and "test", kept from `prepare_data` until the splits are made."""
        if not self._images:
            self._images = self.files.read(self.root, verify=self.verify)
        return self._images


class CIFAR100DataModule(CIFAR10DataModule):
    """Small pictures of a hundred kinds of things, the fine labels; the rest is as for `CIFAR10DataModule`."""

    files = CIFAR100_FILES
    mean = (0.5071, 0.4865, 0.4409)
    std = (0.2673, 0.2564, 0.2762)
