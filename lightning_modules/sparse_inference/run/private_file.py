"""Files that nobody but their user can have written, as whoever writes a file of machine code has it run."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def read_private(path: Path) -> bytes:
    """The content of a file.

    Raises:
        FileNotFoundError: it is not there.
        OSError: it or its folder is a link, belongs to another user than this one and root, or may be written to by
            others; or it cannot be read.
    """
    with (
        _opened(path.parent, os.O_DIRECTORY) as folder,
        _opened(path, os.O_RDONLY, folder) as file,
        os.fdopen(file, "rb", closefd=False) as content,
    ):
        return content.read()


def write_private(path: Path, content: bytes) -> None:
    """Write a file that takes its name at the end, in a folder that is made if it is not there; others have no rights.

    Raises:
        OSError: its folder is none that :func:`read_private` reads from, or cannot be written to.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part, new = path.with_name(f"{path.name}.{os.getpid()}.part"), os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with _opened(path.parent, os.O_DIRECTORY) as folder:
        _remove(part, folder)  # what a process of this number has left
        try:
            with _opened(part, new, folder) as file, os.fdopen(file, "wb", closefd=False) as whole:
                whole.write(content)
            os.replace(part.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            _remove(part, folder)


def _remove(path: Path, folder: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path.name, dir_fd=folder)


@contextlib.contextmanager
def _opened(path: Path, flags: int, folder: int | None = None) -> Iterator[int]:
    """A descriptor of a folder, or of a file in an open one, looked at when others can no longer exchange it."""
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would have to be waited for
    try:
        descriptor = os.open(path if folder is None else path.name, flags, 0o600, dir_fd=folder)
    except OSError:
        if path.is_symlink():
            raise PermissionError(f"{str(path)!r} is a symbolic link, which is not followed: remove it") from None
        raise
    try:
        found = os.fstat(descriptor)
        if not flags & os.O_DIRECTORY and not stat.S_ISREG(found.st_mode):
            raise PermissionError(f"{str(path)!r} is no file: remove it")
        if found.st_uid not in (os.geteuid(), 0):
            raise PermissionError(f"{str(path)!r} belongs to user {found.st_uid}: remove it")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            mode = stat.S_IMODE(found.st_mode)
            raise PermissionError(f"others may write to {str(path)!r}, of mode {mode:o}: run chmod -R go-w on it")
        yield descriptor
    finally:
        os.close(descriptor)
