"""Tiny data sets in the format of the real ones."""

import gzip
import struct
from pathlib import Path

import torch
from torch import Tensor


def write_idx(path: Path, data: Tensor) -> None:
    """Writes uint8 data as a gzipped idx file, like those of MNIST."""
    header = struct.pack(f">{1 + data.dim()}I", 2048 + data.dim(), *data.shape)
    path.write_bytes(gzip.compress(header + bytes(data.flatten().tolist()), mtime=0))


def write_mnist(root: Path, train: int = 64, test: int = 32, seed: int = 0) -> Path:
    """Writes noisy 28x28 images with a bright patch whose place tells the label; returns root."""
    generator = torch.Generator().manual_seed(seed)
    root.mkdir(parents=True, exist_ok=True)
    for prefix, count in ("train", train), ("t10k", test):
        labels = torch.randperm(count, generator=generator) % 10
        images = torch.randint(0, 64, (count, 28, 28), generator=generator)
        for image, label in zip(images, labels.tolist(), strict=True):
            row, column = divmod(label, 5)
            image[14 * row : 14 * row + 14, 5 * column : 5 * column + 5] += 190
        write_idx(root / f"{prefix}-images-idx3-ubyte.gz", images.byte())
        write_idx(root / f"{prefix}-labels-idx1-ubyte.gz", labels.byte())
    return root
