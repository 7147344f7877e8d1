"""ImageFiles: encoded images and their labels, in a folder or inside a tar."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .photos import decode_photo

ImageEntry = tuple[str, tuple[int, int] | None]
"""The name of an image below its folder or in its tar, and its span in the tar: where it begins, and its size."""


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Encoded images as arrays, not as a million objects, whose reference counts worker processes would write to.

    Attributes:
        source: a folder or a tar.
        names: (N,), bytes; below the folder or in the tar.
        labels: int64 (N,).
        spans: int64 (N, 2), where in the tar each image begins, and its size; None in a folder.
    """

    source: Path
    names: NDArray[np.bytes_]
    labels: NDArray[np.int64]
    spans: NDArray[np.int64] | None = None

    @classmethod
    def of_classes(cls, source: Path, classes: Sequence[Sequence[ImageEntry]]) -> ImageFiles:
        """Return the images of each class, in the order of their labels."""
        names = [os.fsencode(name) for images in classes for name, _ in images]
        labels = np.repeat(np.arange(len(classes)), [len(images) for images in classes])
        spans = np.array([span for images in classes for _, span in images if span], np.int64)
        return cls(source, np.array(names, np.bytes_), labels, spans if len(spans) else None)

    def __len__(self) -> int:
        return len(self.labels)

    def path(self, index: int) -> Path:
        """Return the path that errors name an image by; inside a tar, it goes on from the tar's own path."""
        return self.source / os.fsdecode(bytes(self.names[index]))

    def read(self, index: int) -> bytes:
        """Return an encoded image."""
        if self.spans is None:
            return self.path(index).read_bytes()
        start, size = self.spans[index].tolist()
        with self.source.open("rb") as file:  # anew: worker processes would share the position of an open one
            file.seek(start)
            return file.read(size)

    def take(self, rows: NDArray[np.int64]) -> ImageFiles:
        """Return some of the images."""
        spans = None if self.spans is None else self.spans[rows]
        return replace(self, names=self.names[rows], labels=self.labels[rows], spans=spans)

    def find_damaged(self, threads: int) -> dict[int, str]:
        """Return what is wrong with each image that cannot be decoded; all of them are read."""

        def problem(index: int) -> str | None:
            try:
                decode_photo(self.read(index), self.path(index), reduction=8)
            except (OSError, ValueError) as error:
                return str(error)
            return None

        with ThreadPoolExecutor(threads) as pool:
            problems = enumerate(pool.map(problem, range(len(self))))
            return {index: error for index, error in problems if error}
