"""Compressed files, unpacked in memory no further than what they are for can be."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Collection
from pathlib import Path


def unpack_gzip(packed: bytes, most: int) -> bytes:
    """Return the content of a gzip file.

    Args:
        packed: the file.
        most: the most bytes that its content may have.

    Raises:
        ValueError: it has more.
        OSError, EOFError, zlib.error: the file is damaged.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        content = file.read(most + 1)
        if len(content) > most:
            raise ValueError(f"it unpacks to more than {most} bytes")
    return content


def unpack_tar(path: Path, names: Collection[str], most: int) -> dict[str, bytes]:
    """Return the content of the members of these names in a ``.tar.gz``, which is read once, from its beginning.

    Args:
        path: the archive.
        names: the members; one that is not there is not in the result.
        most: the most bytes that all members of the archive together may have.

    Raises:
        ValueError: they have more.
        OSError, EOFError, tarfile.TarError, zlib.error: the archive is damaged.
    """
    contents, total = dict[str, bytes](), 0
    with tarfile.open(path, "r|gz") as tar:
        for member in tar:
            total += member.size
            if total > most:
                raise ValueError(f"it unpacks to more than {most} bytes")
            if member.isfile() and member.name in names and (file := tar.extractfile(member)):
                contents[member.name] = file.read()
    return contents
