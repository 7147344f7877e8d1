"""The lock of a folder, which leaves no file behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def folder_lock(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a folder, so that of all processes that ask for it only one is in here at a time.

    Args:
        folder: the folder, which is there.
        wait: whether to wait for another process, or to raise.

    Raises:
        BlockingIOError: another process holds the folder, and ``wait`` is False.
        RuntimeError: the system is Windows.
    """
    check_locks()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def check_locks() -> None:
    """Refuse a system without locks.

    Raises:
        RuntimeError: the system is Windows.
    """
    if fcntl is None:
        raise RuntimeError("folders of runs and results cannot be locked on Windows: use Linux or macOS, or WSL")
