"""The header of a packed file: what it says of the tensors in the file, and whether that can be true."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from .positions import CODES, ENTRIES_PER_BYTE

FORMAT = "sparse-lightning 1"
PARTS = ("values", *CODES)

Codes = Mapping[str, Mapping[str, Tensor]]
"""The code of the positions of each sparse weight, by name, as :func:`.positions.encode` returns it."""


class Header(NamedTuple):
    """The shapes of the sparse weights, and which tensors are the same as others, by name."""

    shapes: dict[str, list[int]]
    same: dict[str, str]


def write_header(header: Header, codes: Codes) -> dict[str, str]:
    """Return the metadata of a file."""
    metadata = {"format": FORMAT, "shapes": json.dumps(header.shapes), "same": json.dumps(header.same)}
    return {**metadata, "checksum": _checksum(metadata, codes)}


def read_header(metadata: Mapping[str, str], names: set[str], nbytes: int) -> Header:
    """Return what the metadata of a file says.

    Args:
        metadata: the entries of the header.
        names: the names of the tensors in the file.
        nbytes: the size of the file.

    Raises:
        ValueError: the metadata does not belong to these tensors, or claims more than a file of this size can hold.
    """
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
    if unknown := sorted(metadata.keys() - {"format", "shapes", "same", "checksum"}):
        raise ValueError(f"its header has an entry {unknown[0]!r}, which the format does not know")
    header = Header(_entry(metadata, "shapes"), _entry(metadata, "same"))
    _check_shapes(header.shapes, names, nbytes)
    _check_names(header, names)
    return header


def check_checksum(metadata: Mapping[str, str], codes: Codes) -> None:
    """Refuse positions that are not those that were written, if the header has a checksum.

    Raises:
        ValueError: the checksum is another.
    """
    if metadata.get("checksum", right := _checksum(metadata, codes)) != right:
        raise ValueError(f"its checksum is {metadata['checksum']!r}, but that of its positions is {right!r}")


def _checksum(metadata: Mapping[str, str], codes: Codes) -> str:
    """Return the checksum of all that says which weights are active."""
    total = zlib.crc32(f"{metadata['shapes']}{metadata['same']}".encode())
    for code in codes.values():
        for part in (part for part in CODES if part in code):
            total = zlib.crc32(code[part].numpy().tobytes(), total)
    return f"{total:08x}"


def _check_shapes(shapes: Mapping[str, Any], names: set[str], nbytes: int) -> None:
    """Check that each sparse weight has a shape and its parts, and that a file of this size can hold them."""
    for name, shape in shapes.items():
        if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError(f"the shape of {name!r} is {shape!r}, which is no list of lengths")
        parts = sorted(part for part in PARTS if f"{name}::{part}" in names)
        if parts not in (["bits", "values"], ["high", "low", "values"]):
            raise ValueError(f"it has {parts} of {name!r}, not values and either bits or high and low")
    entries = sum(math.prod(shape) for shape in shapes.values())
    if entries > ENTRIES_PER_BYTE * nbytes:
        raise ValueError(f"its header claims {entries} entries, more than a file of {nbytes} bytes can be of")


def _check_names(header: Header, names: set[str]) -> None:
    """Check that each tensor is one weight, and that those that are the same as others name these."""
    whole = names - {f"{name}::{part}" for name in header.shapes for part in PARTS}
    if strange := sorted(name for name in whole if "::" in name):
        raise ValueError(f"its {strange[0]!r} belongs to no weight")
    if twice := sorted(whole & header.shapes.keys()):
        raise ValueError(f"{twice[0]!r} is in it twice, sparse and dense")
    known = whole | header.shapes.keys()
    for name, other in header.same.items():
        if name in known or not isinstance(other, str) or other not in known:
            raise ValueError(f"{name!r} cannot be the same as {other!r}")


def _entry(metadata: Mapping[str, str], entry: str) -> dict[str, Any]:
    """Return what an entry of the metadata says by name."""
    try:
        value = json.loads(metadata[entry])
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"its header has no {entry!r} that can be read: {error!r}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{entry!r} in its header is {value!r}, which names nothing")
    return value
