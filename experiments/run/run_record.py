"""The record of a run: what it was and cost, in one small file beside its metrics."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities import rank_zero_warn

from callbacks import TrainingFlops
from callbacks.files.safe_files import write_whole_text
from callbacks.observer import callbacks_of
from callbacks.owner_of import mask_owner, masks_of
from callbacks.sparsity import storage_bytes

from .provenance import provenance

NAME = "run.json"
KINDS = {"scores": dict, "flops": dict, "layers": dict, "steps": int, "first_step": int, "study": str, "status": str}
"""What some entries are, if they are there."""


class RunRecord(pl.Callback):
    """A callback that writes ``run.json`` beside the ``metrics.csv`` of a CSVLogger, and nothing without that logger.

    It holds the name, study (data and network), method and seed of the run; its status (``running``, ``finished`` or
    ``stopped``), steps, minutes and scores; shape and active weights of every sparse layer; FLOPs, if the Trainer has
    a :class:`TrainingFlops`, and bytes; commit, versions and machine. It is written at the start and the end, with
    every checkpoint and after a test, and is whole at any time. A run that goes on from a checkpoint of another names
    that one's file, and its minutes come on top.

    Args:
        clock: gives seconds, from any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._folder: Path | None = None
        self._record: dict[str, Any] = {}
        self._begun: float | None = None  # None as long as nothing is trained
        self._warned = False  # whether it has said that the record cannot be written
        self._minutes = 0.0  # the minutes of the runs that this one continues

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._begin(trainer, pl_module)
        self._begun = self.clock()
        self._write(trainer, pl_module, "running")

    def _begin(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the record with all that does not change while it trains."""
        self._folder = next((Path(log.log_dir) for log in trainer.loggers if isinstance(log, CSVLogger)), None)
        if self._folder is None or not trainer.is_global_zero:
            return
        earlier = _record_of(trainer.ckpt_path)
        self._minutes = self._read_earlier(earlier).get("minutes", 0.0)
        owner = mask_owner(trainer)
        seed = os.environ.get("PL_GLOBAL_SEED")
        self._record = {
            "name": self._folder.parent.name if self._folder.name.startswith("version_") else self._folder.name,
            "study": _study(trainer, pl_module),
            "method": type(owner).__name__ if owner else "dense",
            "seed": int(seed) if seed else getattr(owner, "seed", None),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "first_step": trainer.global_step,
            "continues": os.path.relpath(earlier, self._folder) if earlier else None,
            "scores": {},
            **provenance(),
        }

    def _read_earlier(self, path: Path | None) -> dict[str, Any]:
        """Return the record of the run that this one continues; nothing if there is none, or none that can be read."""
        try:
            return read_record(path) if path else {}
        except (ValueError, OSError) as error:
            rank_zero_warn(f"the minutes of the run that this one continues are not known: {error}")
            return {}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._record.get("status") == "running":
            self._write(trainer, pl_module, "running")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer, pl_module, "finished")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # From a checkpoint of the last step nothing is trained, and on_train_start is not called. FLOPs, which are
        # counted in the first batch, are then those of the earlier record.
        if not self._record and trainer.ckpt_path:
            self._begin(trainer, pl_module)
            earlier = _record_of(trainer.ckpt_path)
            if self._record and earlier:
                self._record = {**self._read_earlier(earlier), **self._record}
            self._write(trainer, pl_module, "finished")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self._record.get("status") == "running":
            self._write(trainer, pl_module, "stopped")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        scores = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
        if self._record:
            self._record["scores"] = scores
            self._save()

    def _write(self, trainer: pl.Trainer, module: pl.LightningModule, status: str) -> None:
        """Write the record, with all that changes while it trains."""
        if not self._record:
            return
        masks = masks_of(trainer)
        seconds = 0.0 if self._begun is None else self.clock() - self._begun
        self._record |= {
            "status": status,
            "steps": trainer.global_step,
            "minutes": round(self._minutes + seconds / 60, 3),
            "sparsity": masks.sparsity if masks else 0.0,
            "layers": {name: {"shape": list(mask.shape), "active": masks.counts[name]} for name, mask in masks.items()},
            "bytes": storage_bytes(module, masks.counts),
            "dense_bytes": storage_bytes(module, {}),
        }
        counter = next((callback for callback in callbacks_of(trainer) if isinstance(callback, TrainingFlops)), None)
        if counter is not None and counter.flops is not None:
            self._record["flops"] = {
                "forward": counter.flops.sparse(masks.density),
                "dense_forward": counter.flops.dense,
                "training": counter.total,
                "dense_training": counter.dense,
            }
        self._save()

    def _save(self) -> None:
        assert self._folder is not None
        try:
            write_whole_text(json.dumps(self._record, indent=1) + "\n", self._folder / NAME)
        except OSError as error:
            if not self._warned:
                rank_zero_warn(
                    f"the record {str(self._folder / NAME)!r} could not be written ({error}); the fit goes on"
                )
            self._warned = True


def read_record(path: Path) -> dict[str, Any]:
    """Read what a RunRecord wrote.

    Raises:
        ValueError: the file is not one of RunRecord.
    """
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        record["minutes"] = float(record["minutes"])
        record["name"], record["method"] = str(record["name"]), str(record["method"])
        for key, kind in KINDS.items():
            if not isinstance(record.get(key, kind()), kind):
                raise TypeError(f"{key} is {record[key]!r}, no {kind.__name__}")
        for key in {"scores", "flops"} & record.keys():
            record[key] = {name: float(value) for name, value in record.get(key, {}).items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"{str(path)!r} is not the record of a run ({error!r}): delete it, or leave it out") from error
    return record


def _record_of(checkpoint: str | Path | None) -> Path | None:
    """Return the record of the run that left a checkpoint, from the folder above ``checkpoints/``; None without one."""
    if not checkpoint:
        return None
    candidates = [parent / NAME for parent in list(Path(checkpoint).parents)[:2]]
    return next((path for path in candidates if path.is_file()), None)


def _study(trainer: pl.Trainer, module: pl.LightningModule) -> str:
    """Return the names of the data and the network."""
    data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning does not declare it
    names = [] if data is None else [type(data).__name__.removesuffix("DataModule")]
    return "/".join([*names, type(getattr(module, "network", module)).__name__])
