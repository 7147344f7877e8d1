"""CIFARFiles: the official Python files of CIFAR-10 and CIFAR-100, checked and read."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from ..files.archives import unpack_tar
from ..files.array_pickles import load_arrays

MOST = 400_000_000
"""The most bytes of an unpacked archive; the official ones have 186 million."""


@dataclass(frozen=True)
class CIFARFiles:
    """The official files of one data set: those of a folder, or the archive of that folder.

    Attributes:
        folder: the name of the folder.
        archive: the name of the archive.
        md5: the md5 of the archive.
        train: the md5 of each file to train on.
        test: the md5 of each file to test with.
        label: the name of the labels in the files.
        classes: the number of classes.
    """

    folder: str
    archive: str
    md5: str
    train: Mapping[str, str]
    test: Mapping[str, str]
    label: str
    classes: int

    @property
    def url(self) -> str:
        """The address from which the archive can be downloaded."""
        return f"https://www.cs.toronto.edu/~kriz/{self.archive}"

    def missing(self, root: Path) -> list[str]:
        """Return the files that are not in the folder, and so must be in the archive."""
        return [name for name in {**self.train, **self.test} if not (root / self.folder / name).is_file()]

    def read(self, root: Path, *, verify: bool) -> dict[str, tuple[Tensor, Tensor]]:
        """Return "train" and "test": images, uint8 (N, 3, 32, 32), RGB, and labels, int64 (N,).

        Args:
            root: where the folder or the archive lies; the folder's files come first.
            verify: whether each file must be the official one (md5).

        Raises:
            FileNotFoundError: files are neither in the folder nor in an archive.
            ValueError: a file or the archive is damaged, or another one.
        """
        missing = self.missing(root)
        packed = self._unpack(root / self.archive, missing) if missing else {}
        splits = {}
        for split, names in ("train", self.train), ("test", self.test):
            parts = []
            for name, md5 in names.items():
                path = root / (self.archive if name in packed else self.folder) / name
                raw = packed[name] if name in packed else path.read_bytes()
                try:
                    parts.append(self._parse(raw, md5 if verify else None))
                except ValueError as error:
                    raise ValueError(f"{path} is damaged or another file: {error}. {self._way_out(root)}") from error
            images, labels = zip(*parts, strict=True)
            splits[split] = torch.from_numpy(np.concatenate(images)), torch.from_numpy(np.concatenate(labels))
        return splits

    def _way_out(self, root: Path) -> str:
        return (
            f"Put the official {self.archive} into {root}, where prepare_data() also downloads it to, and remove what "
            f"is damaged, or put its files into {root / self.folder}."
        )

    def _unpack(self, archive: Path, names: list[str]) -> dict[str, bytes]:
        """Return the content of files in the archive, which is read once, from its beginning to its end."""
        if not archive.is_file():
            raise FileNotFoundError(
                f"{', '.join(names)} missing in {archive.parent / self.folder}. {self._way_out(archive.parent)}"
            )
        wanted = {str(PurePosixPath(self.folder) / name): name for name in names}
        try:
            members = unpack_tar(archive, wanted, MOST)
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
            raise ValueError(
                f"{archive} is damaged or another file: {error}. {self._way_out(archive.parent)}"
            ) from error
        contents = {wanted[member]: content for member, content in members.items()}
        if absent := [name for name in names if name not in contents]:
            raise ValueError(f"{archive} holds no {', '.join(absent)}. {self._way_out(archive.parent)}")
        return contents

    def _parse(self, raw: bytes, md5: str | None) -> tuple[np.ndarray, np.ndarray]:
        if md5 and (own := hashlib.md5(raw).hexdigest()) != md5:
            raise ValueError(f"its md5 is {own}, not {md5} (verify=False accepts it)")
        content = load_arrays(raw)
        if absent := {"data", self.label} - content.keys():
            raise ValueError(f"it has no {sorted(absent)}, only {sorted(map(str, content))}")
        images, labels = content["data"], np.array(content[self.label])
        if not (isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.shape[1:] == (3072,)):
            kind = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
            raise ValueError(f"its data are {kind}, not uint8 (N, 3072)")
        if not len(images) or labels.shape != (len(images),) or labels.dtype.kind not in "iu":
            raise ValueError(f"it holds {len(images)} images, and {labels.dtype} {labels.shape} as their labels")
        if not 0 <= labels.min() <= labels.max() < self.classes:
            raise ValueError(
                f"its labels go from {labels.min()} to {labels.max()}, while those of {self.classes} classes "
                f"go from 0 to {self.classes - 1}"
            )
        return images.reshape(-1, 3, 32, 32), labels.astype(np.int64)


CIFAR10_FILES = CIFARFiles(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    label="labels",
    classes=10,
)
CIFAR100_FILES = CIFARFiles(
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    train={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    label="fine_labels",
    classes=100,
)
