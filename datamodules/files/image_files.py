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

Image = tuple[str, tuple[int, int] | None]
"""The name of a file, and its span in a tar."""


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Arrays, not a million objects, whose reference counts worker processes would write to.

    Attributes:
        place: a folder or a tar.
        names: (N,), bytes; below the folder or in the tar.
        labels: int64 (N,).
        spans: int64 (N, 2), where in the tar each file begins, and its size; None in a folder.
    """

    place: Path
    names: NDArray[np.bytes_]
    labels: NDArray[np.int64]
    spans: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.labels)

    def path(self, index: int) -> Path:
        """What errors call an image."""
        return self.place / os.fsdecode(bytes(self.names[index]))

    def read(self, index: int) -> bytes:
        """Returns the encoded image."""
        if self.spans is None:
            return self.path(index).read_bytes()
        start, size = self.spans[index].tolist()
        with self.place.open("rb") as file:  # anew: worker processes would share the position of an open one
            file.seek(start)
            return file.read(size)

    def take(self, indices: NDArray[np.int64]) -> ImageFiles:
        """Returns some of the images."""
        spans = None if self.spans is None else self.spans[indices]
        return replace(self, names=self.names[indices], labels=self.labels[indices], spans=spans)

    def damaged(self, threads: int) -> dict[int, str]:
        """Returns what is wrong with each image that cannot be decoded; reads all of them."""

        def problem(index: int) -> str | None:
            try:
                decode_photo(self.read(index), self.path(index), reduction=8)
            except (OSError, ValueError) as error:
                return str(error)
            return None

        with ThreadPoolExecutor(threads) as pool:
            found = enumerate(pool.map(problem, range(len(self))))
            return {index: error for index, error in found if error}


def image_files(place: Path, classes: Sequence[Sequence[Image]]) -> ImageFiles:
    """ImageFiles of the images of each class, in the order of their labels."""
    names = [os.fsencode(name) for images in classes for name, _ in images]
    labels = np.repeat(np.arange(len(classes)), [len(images) for images in classes])
    spans = np.array([span for images in classes for _, span in images if span], np.int64)
    return ImageFiles(place, np.array(names, np.bytes_), labels, spans if len(spans) else None)
