"""A Trainer's checkpoint files: whole or not there, and read without executing anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..either_lightning import TorchCheckpointIO, pl
from .safe_files import part_of, put_in_place, read_checkpoint, write_whole


class WholeCheckpoints(TorchCheckpointIO):
    """The plug-in that writes a checkpoint under another name, and gives it its own when it is on the disk.

    Lightning by itself moves it there from the folder for temporary files. From another disk that is a copy, and a kill
    or a full disk in the middle leaves half a checkpoint under the name of the last whole one.

    Paths of object stores (``s3://...``) are left to Lightning, as are checkpoints that are to be read with
    ``weights_only=False``.

    Raises:
        OSError: a checkpoint cannot be written; the one that was there is still whole.
        ValueError: a checkpoint is damaged, or holds more than tensors and plain values.

    Example:
        >>> pl.Trainer(plugins=[WholeCheckpoints()])  # doctest: +SKIP
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object | None = None
    ) -> None:
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        try:
            write_whole(checkpoint, Path(path))
        except (OSError, RuntimeError) as error:  # torch.save raises the latter when the disk is full
            raise OSError(
                f"the checkpoint {str(path)!r} could not be written ({error}); an earlier one there is still whole: "
                "make room or choose another folder, then resume from it"
            ) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        if weights_only is False or "://" in str(path):
            return super().load_checkpoint(path, map_location, weights_only)
        try:
            return read_checkpoint(path)
        except ValueError as error:
            whole = _newest_whole(Path(path))
            more = f"; {str(whole)!r} is whole, resume from it" if whole else "; there is no other one beside it"
            raise ValueError(f"{error}{more}") from error


def save_checkpoint(trainer: pl.Trainer, path: Path) -> None:
    """Save the running fit as ``path``, whole and readable or not at all; to be called on all ranks.

    Raises:
        ValueError: on rank 0, the checkpoint would hold objects that cannot be read back safely.
    """
    part = part_of(path)
    trainer.save_checkpoint(part, weights_only=False)
    if trainer.is_global_zero:
        read_checkpoint(part)
        put_in_place(part, path)
    trainer.strategy.barrier(f"saved {path.name}")


def _newest_whole(damaged: Path) -> Path | None:
    """Return the checkpoint written last in the folder of a damaged one that can be read, if there is one."""
    others = [path for path in damaged.parent.glob("*.ckpt") if path != damaged]
    for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            read_checkpoint(path)
        except ValueError:
            continue
        return path
    return None
