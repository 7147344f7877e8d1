"""Checkpoint files: written whole or not at all, read without executing what is in them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU; nothing in the file is executed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, is a folder or no checkpoint, or holds more than tensors and plain values.
    """
    checkpoint = read_safely(path)
    if not isinstance(checkpoint, Mapping) or "state_dict" not in checkpoint:
        raise ValueError(f"{str(path)!r} is not a checkpoint: it has no 'state_dict'")
    return dict(checkpoint)


def read_safely(path: str | Path) -> Any:
    """What is in a file of tensors and plain values, on the CPU; nothing in the file is executed.

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
        raise FileNotFoundError(f"there is no checkpoint {str(path)!r}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} cannot be read as a checkpoint: it is damaged, or holds objects other than tensors and "
            "plain values (keep those out of the checkpoint: save_hyperparameters(ignore=[...]))"
        ) from error


def write_whole(value: object, path: Path) -> None:
    """Save ``value`` as ``path``, which at no moment is there with half its content."""
    with whole_file(path) as part:
        torch.save(value, part)


def write_whole_text(text: str, path: Path) -> None:
    """Write a text file that at no moment is there with half its content."""
    with whole_file(path) as part:
        part.write_text(text)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield where to write a file that takes its name once it is on the disk; after an error nothing is left of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield _part(path)
        _put_in_place(path)
    except (OSError, RuntimeError, TypeError, ValueError):  # torch raises a RuntimeError when the disk is full
        _part(path).unlink(missing_ok=True)
        raise


def save_checkpoint(trainer: pl.Trainer, path: Path) -> None:
    """Save the running fit as ``path``, whole and readable or not at all; to be called on all ranks.

    Raises:
        ValueError: on rank 0, the checkpoint would hold objects that cannot be read back safely.
    """
    trainer.save_checkpoint(_part(path), weights_only=False)
    if trainer.is_global_zero:
        read_checkpoint(_part(path))
        _put_in_place(path)
    trainer.strategy.barrier(f"saved {path.name}")


def _part(path: Path) -> Path:
    """What the file is called while it is being written."""
    return path.with_name(path.name + ".part")


def _put_in_place(path: Path) -> None:
    with _part(path).open("rb+") as file:
        os.fsync(file.fileno())
    _part(path).replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name is on the disk, too
    finally:
        os.close(folder)
