"""Archives that unpack to more than their data set can be are refused before they fill the memory."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from fakes import write_mnist

from datamodules import CIFAR10DataModule, MNISTDataModule
from datamodules.files.archives import unpack_gzip, unpack_tar


class Zeros(io.RawIOBase):
    """So many bytes of 0."""

    def __init__(self, left: int) -> None:
        self.left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), self.left)
        buffer[:count] = bytes(count)
        self.left -= count
        return count


def write_tar(path: Path, name: str, size: int) -> None:
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = size
        tar.addfile(member, io.BufferedReader(Zeros(size)))


def test_what_is_small_enough_is_unpacked(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar.gz", "folder/file", 1000)
    assert unpack_tar(tmp_path / "a.tar.gz", ["folder/file", "other"], 1000) == {"folder/file": bytes(1000)}
    assert unpack_gzip(gzip.compress(b"abc"), 3) == b"abc"


def test_a_tar_of_too_many_bytes_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    write_tar(path, "cifar-10-batches-py/data_batch_1", 500_000_000)
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    with pytest.raises(
        ValueError, match=r"cifar-10-python.tar.gz is damaged or another file: it unpacks to more than 400"
    ):
        CIFAR10DataModule(tmp_path, verify=False, download=False).setup("fit")
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()


def test_a_gzip_of_too_many_bytes_is_not_unpacked(tmp_path: Path) -> None:
    write_mnist(tmp_path, train=16, test=4)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(150_000_000), 1))
    with pytest.raises(
        ValueError, match=r"train-images-idx3-ubyte.gz is damaged .* unpacks to more than 100000000 bytes"
    ):
        MNISTDataModule(tmp_path, verify=False, download=False).setup("fit")
