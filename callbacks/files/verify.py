"""Whether a file of torch is what was written, and its tensors are what their bytes can be."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ARCHIVE = b"PK\x03\x04"  # how an archive begins; what torch wrote before it had archives has no checksums

# The most bytes of a tensor for one byte of the file: strides of 0 let few bytes be a tensor of any size, and whoever
# copies it asks for as much memory.
BYTES_PER_BYTE = 2**16


def check_archive(path: Path) -> None:
    """Refuse an archive of ``torch.save`` of which a bit has changed since it was written.

    Nothing is said of an archive that was written with ``torch.serialization.set_crc32_options(False)``.

    Raises:
        ValueError: a record has another checksum, or is compressed, which ``torch.save`` never does.
    """
    with path.open("rb") as file:
        if file.read(len(ARCHIVE)) != ARCHIVE:
            return
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            packed = next((record.filename for record in records if record.compress_type != zipfile.ZIP_STORED), None)
            changed = archive.testzip() if packed is None and any(record.CRC for record in records) else None
    except Exception as error:  # damaged bytes raise whatever reading them runs into
        raise ValueError(f"it is damaged: {' '.join(str(error).split())}") from error
    if packed:
        raise ValueError(f"its record {packed!r} is compressed, which torch.save never does")
    if changed:
        raise ValueError(f"it is damaged: its record {changed!r} is not what was written, by its checksum")


def check_tensors(content: object, nbytes: int) -> None:
    """Refuse tensors without values, and those that a file of ``nbytes`` cannot be of.

    Raises:
        ValueError: a tensor is on the meta device, or larger than ``BYTES_PER_BYTE`` times the file.
    """
    for tensor in _tensors(content):
        if tensor.is_meta:
            raise ValueError(f"it holds a tensor {tuple(tensor.shape)} on the meta device, which has no values")
        if tensor.layout is torch.strided and tensor.numel() * tensor.element_size() > BYTES_PER_BYTE * nbytes:
            raise ValueError(f"it holds a tensor {tuple(tensor.shape)}, more than a file of {nbytes} bytes can be of")


def _tensors(content: object) -> Iterator[Tensor]:
    """Yield the tensors in mappings, lists and tuples, each of which is looked into once."""
    waiting: list[Any] = [content]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (Mapping, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, Mapping) else value
