"""MNIST from its four official files, served in whole batches from memory."""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .files.downloads import fetch
from .loading.ordering import ResumableDataLoader, ResumableSampler, training_loader, whole_batches

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
WAY_OUT = (
    f"Put the four official files {', '.join(MD5)} there, or let "
    "MNISTDataModule(download=True).prepare_data() fetch them."
)

Batch = tuple[Tensor, Tensor]


class LabelledImages(Dataset[Batch]):
    """Images and labels in memory that are fetched in whole batches.

    Args:
        images: uint8 (N, 1, height, width), from 0 to 255.
        labels: int64 (N,).

    Example:
        >>> data = LabelledImages(torch.full((3, 1, 2, 2), 255).byte(), torch.tensor([7, 8, 9]))
        >>> images, labels = data.__getitems__([2, 0])
        >>> images.shape, images.max(), labels
        (torch.Size([2, 1, 2, 2]), tensor(1.), tensor([9, 7]))
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        """Returns one image, float32 (1, height, width) in [0, 1], and its label, int64 ()."""
        return self.images[index].float() / 255, self.labels[index]

    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns a batch: float32 (B, 1, height, width) in [0, 1] and int64 (B,)."""
        return self.images[indices].float() / 255, self.labels[indices]


class MNISTDataModule(pl.LightningDataModule):
    """Handwritten digits: 60,000 images to train on and 10,000 to test with.

    Every loader yields `(images, labels)`: float32 (B, 1, 28, 28), grey value / 255 and thus in
    [0, 1], and int64 (B,) from 0 to 9. `val_size` training images, chosen by `seed` alone, are
    held out for validation. The training order depends on `seed` and the epoch alone, is split
    among the processes, and goes on after a resume where it stopped, given the same `batch_size`
    and `Trainer(limit_train_batches)`. Predicting uses the test images.

    Args:
        root: folder of the four files; a relative one starts at the current folder.
        verify: whether the files must be the official ones (md5); their structure is checked
            in any case.
        download: whether `prepare_data` fetches missing and damaged files.
        batch_size: samples per batch and process; the last batch of an epoch may be smaller.
        num_workers: processes that prepare batches; 0 is fastest, as the data are in memory.
        val_size: number of held-out training images; with 0 there is no validation.
        seed: chooses the held-out images and the training order.

    Raises:
        ValueError: an argument is out of range; or in `prepare_data` and `setup`, a file is
            damaged or does not fit the others.
        FileNotFoundError: in `prepare_data` and `setup`, a file is missing.

    Example:
        >>> data = MNISTDataModule("data/mnist", batch_size=32)
        >>> images, labels = next(iter(data.train_dataloader()))
        >>> images.shape, labels.shape
        (torch.Size([32, 1, 28, 28]), torch.Size([32]))
    """

    def __init__(
        self,
        root: str | Path = "data/mnist",
        *,
        verify: bool = True,
        download: bool = True,
        batch_size: int = 128,
        num_workers: int = 0,
        val_size: int = 5000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        least = {"batch_size": 1, "num_workers": 0, "val_size": 0, "seed": 0}
        for name, value in zip(least, (batch_size, num_workers, val_size, seed), strict=True):
            if value < least[name]:
                raise ValueError(f"{name} is {value}; pass {least[name]} or more.")
        self.root = Path(root)
        self.verify, self.download = verify, download
        self.batch_size, self.num_workers = batch_size, num_workers
        self.val_size, self.seed = val_size, seed
        self._splits: dict[str, LabelledImages] = {}

    def prepare_data(self) -> None:
        """Fetches the files that are missing or damaged; a damaged one stays until then."""
        for name in MD5:
            try:
                self._read(name)
            except (FileNotFoundError, ValueError) as problem:
                if not self.download:
                    raise
                fetch([mirror + name for mirror in MIRRORS], MD5[name], self.root / name, problem)

    def setup(self, stage: str | None = None) -> None:
        """Reads the files into memory, once."""
        if self._splits:
            return
        train, test = self._read_split("train"), self._read_split("t10k")
        if self.val_size >= len(train):
            raise ValueError(
                f"val_size is {self.val_size}, but {self.root} holds {len(train)} training images; pass a smaller one."
            )
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.seed))
        for name, part in ("val", order[: self.val_size]), ("train", order[self.val_size :]):
            part = part.sort().values
            self._splits[name] = LabelledImages(train.images[part], train.labels[part])
        self._splits["test"] = test

    def train_dataloader(self) -> ResumableDataLoader:
        """Returns the shuffled batches of this process."""
        self.setup()
        return training_loader(self._splits["train"], ResumableSampler, self, seed=self.seed, **self._options())

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Returns the held-out batches in a fixed order, or [] with `val_size=0`."""
        return self._ordered("val") if self.val_size else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Returns the test batches in the order of the file."""
        return self._ordered("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Returns the test batches in the order of the file."""
        return self._ordered("test")

    def _ordered(self, split: str) -> DataLoader[Batch]:
        self.setup()
        return DataLoader(self._splits[split], **self._options())

    def _options(self) -> dict[str, Any]:
        return whole_batches(self.batch_size, self.num_workers)

    def _read_split(self, prefix: str) -> LabelledImages:
        images, labels = f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz"
        data = LabelledImages(self._read(images).unsqueeze(1), self._read(labels).long())
        if len(data.images) != len(data.labels):
            raise ValueError(
                f"{self.root / images} holds {len(data.images)} images, but {labels} holds "
                f"{len(data.labels)} labels; they do not belong together. {WAY_OUT}"
            )
        return data

    def _read(self, name: str) -> Tensor:
        """Returns the uint8 content of one file, once it has passed all checks."""
        path = self.root / name
        if not path.is_file():
            raise FileNotFoundError(f"{name} is missing in root={self.root}. {WAY_OUT}")
        packed = path.read_bytes()
        try:
            data = _parse_idx(gzip.decompress(packed), images="images" in name)
            md5 = hashlib.md5(packed).hexdigest()
            if self.verify and md5 != MD5[name]:
                other = next((f", that of {n}" for n in MD5 if MD5[n] == md5), "")
                raise ValueError(f"its md5 is {md5}{other}, not {MD5[name]} (verify=False accepts it)")
        except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is damaged or another file: {error}. {WAY_OUT}") from error
        return data


def _parse_idx(raw: bytes, *, images: bool) -> Tensor:
    kind, magic, dims = ("image", 2051, 3) if images else ("label", 2049, 1)
    if (found := int.from_bytes(raw[:4], "big")) != magic:
        raise ValueError(f"its magic number is {found}, while {kind}s have {magic}")
    start = 4 + 4 * dims
    if len(raw) <= start:
        raise ValueError(f"it ends before its first {kind}")
    shape = struct.unpack(f">{dims}I", raw[4:start])
    if images and shape[1:] != (28, 28):
        raise ValueError(f"its images have {shape[1]}x{shape[2]} pixels, not 28x28")
    if (size := math.prod(shape)) != len(raw) - start:
        raise ValueError(f"it announces {size} bytes of {kind}s, but holds {len(raw) - start}")
    data = torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=start).view(shape)
    if not images and (top := int(data.max())) > 9:
        raise ValueError(f"it holds the label {top}, while digits go from 0 to 9")
    return data
