"""The header of a packed file: what it says of the tensors in the file, and whether that can be true."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from . import checksums
from .positions import CODES, ENTRIES_PER_BYTE

FORMAT = "sparse-lightning 2"
OLDER = "sparse-lightning 1"  # has no checksums of values
PARTS = ("values", *CODES)
ENTRIES = ("format", "shapes", "same", "checksum")


class Header(NamedTuple):
    """What a file says of its tensors.

    Attributes:
        shapes: the shape of each sparse weight, by name.
        same: the names of tensors that are others under a second name, with the names of those.
        checksums: that of each tensor in the file, by its name there; None in a file of version 1.
    """

    shapes: dict[str, list[int]]
    same: dict[str, str]
    checksums: dict[str, str] | None


def write_header(header: Header) -> dict[str, str]:
    """Return the metadata of a file."""
    parts = {entry: json.dumps(value) for entry, value in header._asdict().items()}
    return {"format": FORMAT, **parts, "checksum": checksums.of_texts(*parts.values())}


def read_header(metadata: Mapping[str, str], names: set[str], nbytes: int) -> Header:
    """Return what the metadata of a file says.

    Args:
        metadata: the entries of the header.
        names: the names of the tensors in the file.
        nbytes: the size of the file.

    Raises:
        ValueError: the metadata does not belong to these tensors, or claims more than a file of this size can hold.
    """
    older = metadata.get("format") == OLDER
    if not older and metadata.get("format") != FORMAT:
        raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
    if unknown := sorted(metadata.keys() - {*ENTRIES, *(() if older else ("checksums",))}):
        raise ValueError(f"its header has an entry {unknown[0]!r}, which the format does not know")
    known = None if older else _entry(metadata, "checksums")
    header = Header(_entry(metadata, "shapes"), _entry(metadata, "same"), known)
    if known is not None:
        texts = (metadata["shapes"], metadata["same"], metadata["checksums"])
        check_equal("its header", metadata.get("checksum"), checksums.of_texts(*texts))
    _check_shapes(header.shapes, names, nbytes)
    _check_names(header, names)
    if known is not None and known.keys() != names:
        raise ValueError(f"it has no checksum of {min(names ^ known.keys())!r}, or nothing else of it")
    return header


def check_equal(what: str, said: object, right: str) -> None:
    """Refuse what has another checksum than the file says.

    Raises:
        ValueError: the checksum is another.
    """
    if said != right:
        raise ValueError(f"{what} has the checksum {right!r}, where {said!r} is in its header: a bit of it has changed")


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
