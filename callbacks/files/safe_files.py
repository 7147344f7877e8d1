"""Files of torch: written whole or not at all, read without executing what is in them."""

from __future__ import annotations

import contextlib
import glob
import os
import platform
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .verify import check_archive, check_tensors

_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; nothing in the file is executed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, is a folder or no checkpoint, or holds more than tensors and plain values.
    """
    checkpoint = read_safely(path)
    if not isinstance(checkpoint, Mapping) or "state_dict" not in checkpoint:
        raise ValueError(f"{str(path)!r} is not a checkpoint: it has no 'state_dict'")
    return dict(checkpoint)


def read_safely(path: str | Path, kind: str = "checkpoint") -> Any:
    """Read a file of tensors and plain values to the CPU; nothing in the file is executed.

    Args:
        path: the file.
        kind: what it is, for messages.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, is a folder, or holds more than that.
    """
    if Path(path).is_dir():
        raise ValueError(
            f"{str(path)!r} is a folder, as ModelParallelStrategy writes it: save checkpoints to be read anywhere with "
            "ModelParallelStrategy(save_distributed_checkpoint=False)"
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no {kind} {str(path)!r}")
    try:
        check_archive(Path(path))
        content = _load(path)
        check_tensors(content, Path(path).stat().st_size)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} cannot be read as a {kind}: {error}") from error
    return content


def _load(path: str | Path) -> Any:
    """Return what torch reads in a file.

    Raises:
        ValueError: torch reads nothing.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # damaged bytes raise whatever reading them runs into
        raise ValueError(
            "it is damaged, or holds objects other than tensors and plain values (keep those out of the checkpoint: "
            "save_hyperparameters(ignore=[...]))"
        ) from error


def write_whole(value: object, path: Path) -> None:
    """Save a value of tensors and plain values as ``path``, which at no moment is there with half its content."""
    with whole_file(path) as part:
        torch.save(value, part)


def write_whole_text(text: str, path: Path) -> None:
    """Write a text as ``path``, which at no moment is there with half its content."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield where to write a file that takes its name once it is on the disk; after an error nothing is left of it.

    Each process and thread writes a part of its own. What a killed process of this machine left of the same file is
    removed.

    Args:
        path: the file; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_parts(path)
    part = path.with_name(f"{path.name}.{_MACHINE}-{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield part
        put_in_place(part, path)
    except (Exception, KeyboardInterrupt):
        part.unlink(missing_ok=True)
        raise


def _remove_left_parts(path: Path) -> None:
    """Remove the parts of a file that processes of this machine have left which are no longer there."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.{_MACHINE}-*.part"):
        process = part.name.rsplit("-", 2)[1]
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            part.unlink(missing_ok=True)
        except (ValueError, OSError):
            continue  # a file of another kind, or a process of another user


def part_of(path: Path) -> Path:
    """Return the path of a file while all ranks of a fit write it."""
    return path.with_name(path.name + ".part")


def put_in_place(part: Path, path: Path) -> None:
    """Give a file that has been written its name, once its content is on the disk."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    with contextlib.suppress(OSError):  # not every file system, and not Windows, writes folders when asked
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name is on the disk, too
        finally:
            os.close(folder)
