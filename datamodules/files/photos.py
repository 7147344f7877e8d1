"""Photos: image files as RGB pixels, and pixels as what a network is fed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

Photo = NDArray[np.uint8]
Reduction = Literal[1, 2, 4, 8]

MEAN = STD = 0.5
"""The numbers `to_input` subtracts and divides by, once grey values lie in [0, 1]; the same for all channels."""

# OpenCV calls them grey, which the flag for RGB overrules.
REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


def to_input(photos: Photo) -> Tensor:
    """Return what a network is fed for photos, in training as in prediction: float32 (B, 3, H, W) in [-1, 1].

    Args:
        photos: RGB (B, H, W, 3).

    Example:
        >>> to_input(np.full((1, 1, 1, 3), 255, np.uint8)).flatten()
        tensor([1., 1., 1.])
    """
    planes = torch.from_numpy(photos).permute(0, 3, 1, 2)
    return planes.to(torch.float32, memory_format=torch.contiguous_format).sub_(255 * MEAN).div_(255 * STD)


def decode_photo(encoded: bytes | Photo, name: str | Path, *, upright: bool = False, reduction: Reduction = 1) -> Photo:
    """Return RGB (H, W, 3) from the bytes of an image file; grey, CMYK, 16-bit and transparent ones are converted.

    Args:
        encoded: the whole file.
        name: what errors call it.
        upright: turn the image as its EXIF orientation says. Annotations made in MATLAB, like those of
            LSP and MPII, refer to the pixels as they are stored, so their readers leave this off.
        reduction: decode only a half, a quarter or an eighth of the height and width, which JPEG can.

    Raises:
        ValueError: the bytes are no whole image.
    """
    flags = cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION) | REDUCED[reduction]
    photo = None
    if len(encoded):
        try:
            photo = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
        except cv2.error as error:  # larger than OpenCV allows, for one
            raise ValueError(f"{name} cannot be decoded: {error.err}; replace the file") from error
    if photo is None:
        raise ValueError(f"{name} is no image, or damaged ({len(encoded)} bytes); replace the file")
    return np.asarray(photo, np.uint8)


def read_photo(path: str | Path, *, upright: bool = True) -> Photo:
    """Return RGB (H, W, 3) from an image file, turned as its EXIF orientation says unless `upright` is False.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no whole image.
    """
    return decode_photo(Path(path).read_bytes(), path, upright=upright)


class Photos(Dataset[Photo]):
    """The photos of annotated people, as they are stored; small sets stay in memory, encoded.

    Args:
        paths: one file per item; a file may occur several times.
        memory: bytes up to which all files are kept in memory, shared with forked workers.

    Raises:
        FileNotFoundError: files are missing.
        ValueError: a file is empty, or when it is asked for, no image.
    """

    def __init__(self, paths: Sequence[Path], *, memory: int = 2**29) -> None:
        self.paths = tuple(paths)
        missing = [path for path in dict.fromkeys(self.paths) if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} images are missing, the first of them {missing[0]}; put them there"
            )
        sizes = [path.stat().st_size for path in self.paths]
        if 0 in sizes:
            raise ValueError(f"{self.paths[sizes.index(0)]} is empty; replace the file")
        self._ends = np.cumsum([0, *sizes])
        self._encoded: Photo | None = None
        if self._ends[-1] <= memory:
            # one array instead of many objects, whose reference counts workers would write to
            self._encoded = np.concatenate(
                [np.fromfile(path, np.uint8) for path in self.paths] or [np.empty(0, np.uint8)]
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Photo:
        """Return RGB (H, W, 3)."""
        path = self.paths[index]
        if self._encoded is None:
            return read_photo(path, upright=False)
        return decode_photo(self._encoded[self._ends[index] : self._ends[index + 1]], path)
