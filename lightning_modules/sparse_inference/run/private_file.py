"""Private files, which nobody but their user can have written: whoever writes a file of machine code has it run."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def read_private(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        FileNotFoundError: the file is not there.
        OSError: the file or its folder is a link, belongs to another user than this one and root, or may be written to
            by others; or it cannot be read.
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
        OSError: the folder is none that :func:`read_private` reads from, or cannot be written to.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part, new = path.with_name(f"{path.name}.{os.getpid()}.part"), os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with _opened(path.parent, os.O_DIRECTORY) as folder:
        _remove(part, folder)  # a killed process of the same number may have left it
        try:
            with _opened(part, new, folder) as file, os.fdopen(file, "wb", closefd=False) as whole:
                whole.write(content)
            os.replace(part.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            _remove(part, folder)


def _remove(path: Path, folder: int) -> None:
    """Remove a file of an open folder, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path.name, dir_fd=folder)


@contextlib.contextmanager
def _opened(path: Path, flags: int, folder: int | None = None) -> Iterator[int]:
    """Yield a descriptor of a folder, or of a file in an open folder, if others cannot have written it.

    Owner and mode are those of what is open, which nobody can exchange any more.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK  # without the latter, opening a pipe would wait for a writer
    try:
        descriptor = os.open(path if folder is None else path.name, flags, 0o600, dir_fd=folder)
    except OSError:
        if path.is_symlink():
            raise PermissionError(f"{str(path)!r} is a symbolic link, which is not followed: remove it") from None
        raise
    try:
        status = os.fstat(descriptor)
        if not flags & os.O_DIRECTORY and not stat.S_ISREG(status.st_mode):
            raise PermissionError(f"{str(path)!r} is no file: remove it")
        if status.st_uid not in (os.geteuid(), 0):
            raise PermissionError(f"{str(path)!r} belongs to user {status.st_uid}: remove it")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            mode = stat.S_IMODE(status.st_mode)
            raise PermissionError(f"others may write to {str(path)!r}, of mode {mode:o}: run chmod -R go-w on it")
        yield descriptor
    finally:
        os.close(descriptor)
