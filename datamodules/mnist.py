"""MNIST from its four official files, served in whole batches from memory."""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .files.archives import unpack_gzip
from .files.downloads import fetch
from .loading.arguments import check_at_least
from .loading.counters import torch_generator
from .loading.datamodule import SplitDataModule
from .loading.hold_out import hold_out
from .loading.ordering import ResumableSampler

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
MOST = 100_000_000
"""The most bytes of an unpacked file; the largest official one has 47 million."""

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
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        """Return one image, float32 (1, height, width) in [0, 1], and its label, int64 ()."""
        return self.images[index].float() / 255, self.labels[index]

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return a batch: float32 (B, 1, height, width) in [0, 1] and int64 (B,)."""
        return self.images[indices].float() / 255, self.labels[indices]


class MNISTDataModule(SplitDataModule[LabelledImages]):
    """Handwritten digits: 60,000 images to train on and 10,000 to test with.

    Every loader yields `(images, labels)`: float32 (B, 1, 28, 28), grey value / 255 and thus in
    [0, 1], and int64 (B,) from 0 to 9. The training order depends on `seed` and the epoch alone,
    and goes on after a resume where it stopped. Predicting uses the test images.

    Args:
        root: folder of the four files; a relative one starts at the current folder.
        verify: whether the files must be the official ones (md5); their structure is checked
            in any case.
        download: whether `prepare_data` fetches missing and damaged files.
        batch_size: samples per batch and process; the last batch of an epoch may be smaller.
        num_workers: processes that prepare batches; 0 is fastest, as the data are in memory.
        val_size: number of training images held out for validation, chosen by `seed` alone.
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

    sampler = ResumableSampler

    def __init__(
        self,
        root: str | Path = "data/mnist",
        *,
        verify: bool = True,
        download: bool = True,
        batch_size: int = 128,
        num_workers: int = 0,
        val_size: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        check_at_least(0, val_size=val_size)
        self.root, self.verify, self.download, self.val_size = Path(root), verify, download, val_size

    def prepare_data(self) -> None:
        """Fetch the files that are missing or damaged; a damaged one stays until then."""
        for name in MD5:
            try:
                self._read_file(name)
            except (FileNotFoundError, ValueError) as problem:
                if not self.download:
                    raise
                fetch([mirror + name for mirror in MIRRORS], MD5[name], self.root / name, problem)

    def read(self) -> dict[str, LabelledImages]:
        """Return the images of "train" and "test" and, unless `val_size` is 0, of "val"."""
        train, test = self._read_images("train"), self._read_images("t10k")
        order = torch.randperm(len(train), generator=torch_generator(self.seed)).numpy()
        rows = hold_out(self.val_size, order, f"{self.root} holds {len(train)} training images")
        splits = {name: LabelledImages(train.images[part], train.labels[part]) for name, part in rows.items()}
        return splits | {"test": test}

    def _read_images(self, prefix: str) -> LabelledImages:
        images, labels = f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz"
        data = LabelledImages(self._read_file(images).unsqueeze(1), self._read_file(labels).long())
        if len(data.images) != len(data.labels):
            raise ValueError(
                f"{self.root / images} holds {len(data.images)} images, but {labels} holds "
                f"{len(data.labels)} labels; they do not belong together. {WAY_OUT}"
            )
        return data

    def _read_file(self, name: str) -> Tensor:
        """Return the uint8 content of one file, once it has passed all checks."""
        path = self.root / name
        if not path.is_file():
            raise FileNotFoundError(f"{name} is missing in root={self.root}. {WAY_OUT}")
        packed = path.read_bytes()
        try:
            data = _parse_idx(unpack_gzip(packed, MOST), images="images" in name)
            md5 = hashlib.md5(packed).hexdigest()
            if self.verify and md5 != MD5[name]:
                other = next((f", that of {n}" for n in MD5 if MD5[n] == md5), "")
                raise ValueError(f"its md5 is {md5}{other}, not {MD5[name]} (verify=False accepts it)")
        except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is damaged or another file: {error}. {WAY_OUT}") from error
        return data


def _parse_idx(raw: bytes, *, images: bool) -> Tensor:
    kind, expected_magic, dims = ("image", 2051, 3) if images else ("label", 2049, 1)
    if (magic := int.from_bytes(raw[:4], "big")) != expected_magic:
        raise ValueError(f"its magic number is {magic}, while {kind}s have {expected_magic}")
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
