"""Downloads that are whole and right, or not there."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pooch  # type: ignore[import-untyped]


def fetch(urls: Sequence[str], md5: str, path: Path, problem: Exception) -> None:
    """Download a file from the first address that has it, unless it is there already.

    Args:
        urls: where it can be had.
        md5: of the whole file.
        path: where it goes; what is there stays until the download is complete, right and on the disk.
        problem: why it is needed, which the error repeats when all addresses fail.

    Raises:
        Exception: `problem`, with what went wrong, be it the network, the disk or the content.
    """
    if path.is_file() and pooch.file_hash(str(path), "md5") == md5:
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # another process may fetch the same file
    failures: dict[str, Exception] = {}
    for url in urls:
        try:
            pooch.retrieve(url, f"md5:{md5}", part.name, part.parent, progressbar=sys.stderr.isatty())
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
            return
        except (OSError, ValueError) as failure:  # network or disk; wrong md5
            failures[url] = failure
        finally:
            if part.exists():
                part.unlink()
    raise type(problem)(f"{problem} The download to {path.parent} failed: {failures}.") from failures[urls[-1]]
