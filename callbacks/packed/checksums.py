"""Checksums of what is in a packed file, by which a reader sees that a bit of it has changed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

from .positions import CODES

Codes = Mapping[str, Mapping[str, Tensor]]
"""The code of the positions of each sparse weight, by name, as :func:`.positions.encode` returns it."""


def of_tensor(key: str, tensor: Tensor) -> str:
    """Return the CRC-32 of a tensor's name in the file, its type, its shape and its bytes, as eight digits."""
    total = zlib.crc32(f"{key} {tensor.dtype} {list(tensor.shape)}".encode())
    return f"{zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data, total):08x}"


def of_texts(*texts: str) -> str:
    """Return the CRC-32 of texts one after the other, as eight digits."""
    return f"{zlib.crc32(''.join(texts).encode()):08x}"


def of_positions(shapes: str, same: str, codes: Codes) -> str:
    """Return the one checksum of a file of version 1: that of all that says which weights are active."""
    total = zlib.crc32(f"{shapes}{same}".encode())
    for code in codes.values():
        for part in (part for part in CODES if part in code):
            total = zlib.crc32(code[part].numpy().tobytes(), total)
    return f"{total:08x}"
