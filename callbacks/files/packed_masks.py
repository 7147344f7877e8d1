"""Masks in the files of sparse networks, as ``lightning_modules.sparse_inference.save_sparse`` writes them.

The library folders never import one another: this reads the format from its description there.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..sparsity import Masks
from ..sparsity.masks.packing import unpack

FORMAT = "sparse-lightning 1"
CODES = ("bits", "high", "low")

# The most entries that a byte of a file may stand for, in which a weight without active entries takes no bytes.
ENTRIES_PER_BYTE = 2**16


def is_packed(path: str | Path) -> bool:
    """Whether a file is in the safetensors format, by its first bytes: a length, then JSON."""
    with Path(path).open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_packed_masks(path: str | Path) -> Masks:
    """The masks of a file of a sparse network; its values are not read.

    Raises:
        ValueError: the file is damaged, or ``save_sparse`` has not written it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header, names, masks = file.metadata() or {}, set(file.keys()), {}
            shapes, same = _described(header, names, Path(path).stat().st_size)
            checksum = zlib.crc32(f"{header['shapes']}{header['same']}".encode())
            for name, shape in shapes.items():
                codes = {part: file.get_tensor(f"{name}::{part}") for part in CODES if f"{name}::{part}" in names}
                values = tuple(file.get_slice(f"{name}::values").get_shape())
                masks[name] = _mask(name, codes, torch.Size(shape), values)
                for code in codes.values():
                    checksum = zlib.crc32(code.numpy().tobytes(), checksum)
        if header.get("checksum", right := f"{checksum:08x}") != right:
            raise ValueError(f"its checksum is {header['checksum']!r}, but that of its positions is {right!r}")
        masks.update({name: masks[other] for name, other in same.items() if other in masks})
        return Masks(masks)
    except (SafetensorError, KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as a file of save_sparse: {error}") from error


def _described(header: Mapping[str, str], names: set[str], nbytes: int) -> tuple[dict[str, list[int]], dict[str, str]]:
    """The ``shapes`` and the ``same`` of a header, if the tensors in the file are those that it speaks of.

    ``packed_file.py`` of sparse inference checks the same.
    """
    if header.get("format") != FORMAT:
        raise ValueError(f"its format is {header.get('format')!r}, not {FORMAT!r}")
    if unknown := sorted(header.keys() - {"format", "shapes", "same", "checksum"}):
        raise ValueError(f"its header has an entry {unknown[0]!r}, which the format does not know")
    shapes, same = _entry(header, "shapes"), _entry(header, "same")
    for name, shape in shapes.items():
        if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError(f"the shape of {name!r} is {shape!r}, which is no list of lengths")
        parts = sorted(part for part in ("values", *CODES) if f"{name}::{part}" in names)
        if parts not in (["bits", "values"], ["high", "low", "values"]):
            raise ValueError(f"it has {parts} of {name!r}, not values and either bits or high and low")
    entries = sum(math.prod(shape) for shape in shapes.values())
    if entries > ENTRIES_PER_BYTE * nbytes:
        raise ValueError(f"its header claims {entries} entries, more than a file of {nbytes} bytes can be of")
    whole = names - {f"{name}::{part}" for name in shapes for part in ("values", *CODES)}
    if strange := sorted(name for name in whole if "::" in name):
        raise ValueError(f"its {strange[0]!r} belongs to no weight")
    if twice := sorted(whole & shapes.keys()):
        raise ValueError(f"{twice[0]!r} is in it twice, sparse and dense")
    known = whole | shapes.keys()
    for name, other in same.items():
        if name in known or not isinstance(other, str) or other not in known:
            raise ValueError(f"{name!r} cannot be the same as {other!r}")
    return shapes, same


def _entry(header: Mapping[str, str], entry: str) -> dict[str, Any]:
    """What an entry of the header says by name."""
    try:
        value = json.loads(header[entry])
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"its header has no {entry!r} that can be read: {error!r}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{entry!r} in its header is {value!r}, which names nothing")
    return value


def _mask(name: str, codes: Mapping[str, Tensor], shape: torch.Size, values: tuple[int, ...]) -> Tensor:
    try:
        if len(values) != 1:
            raise ValueError(f"values of shape {values}, not in a row")
        if "low" in codes:
            return _positions_to_mask(codes["high"], codes["low"], shape, values[0])
        mask = unpack(codes["bits"], shape)
        _check_count(mask, values[0])
        return mask
    except ValueError as error:
        raise ValueError(f"of {name!r} it has {error}") from error


def _positions_to_mask(high: Tensor, low: Tensor, shape: torch.Size, count: int) -> Tensor:
    """Elias-Fano: a position's lowest digits are in ``low``, the zeros before its one in ``high`` count the rest."""
    size = math.prod(shape)
    digits = max((size // max(count, 1)).bit_length() - 1, 0)
    rows = (digits, -(-count // 8)) if digits else (1, 0)
    if low.dtype != torch.uint8 or low.shape != rows:
        raise ValueError(f"low digits {low.dtype} {tuple(low.shape)} where uint8 {rows} belongs")
    ends = unpack(high, torch.Size([count + (size >> digits) + 1]))
    _check_count(ends, count)
    positions = (ends.nonzero().flatten() - torch.arange(count)) << digits
    for digit in range(digits):
        positions |= unpack(low[digit], torch.Size([count])).long() << digit
    if count and not (bool((positions.diff() > 0).all()) and int(positions[-1]) < size):
        raise ValueError(f"positions that do not ascend, or not within {size} entries")
    return torch.zeros(size, dtype=torch.bool).index_fill_(0, positions, True).view(shape)


def _check_count(flags: Tensor, count: int) -> None:
    found = int(flags.count_nonzero())
    if found != count:
        raise ValueError(f"{found} positions where {count} belong")
