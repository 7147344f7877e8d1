"""The progress of a fit in its checkpoints, mended so that a run may be interrupted any number of times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..either_lightning import TrainerFn, pl


class ExactResume(pl.Callback):
    """A callback that lets a fit be interrupted any number of times, anywhere, and still do everything once.

    Two things go wrong in Lightning (2.6) by itself. When a fit goes on, its counters of an epoch's batches are put
    back to those that are complete, but the totals over epochs are not: a second interruption is then taken for one
    at another place, and a batch is left out or an epoch begins anew. And a checkpoint that was saved when an epoch's
    last batch was done (``ModelCheckpoint(every_n_train_steps=...)``) is taken for the end of the epoch, whose
    validation and ``on_train_epoch_end`` are then left out.

    The owner of masks does this by itself; a dense fit that is to be compared with sparse ones needs it too. Schedulers
    that wait for a metric (``ReduceLROnPlateau``) miss the epoch in which a fit goes on, with it as without.

    Example:
        >>> pl.Trainer(callbacks=[ExactResume()])  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._logged_steps: int | None = None  # the steps to be logged at the end of the epoch that goes on

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._logged_steps = mend_progress(checkpoint)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch, batches = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
        if self._logged_steps is not None and batches is not None and not epoch._should_check_val_fx(batches):
            epoch.val_loop._has_run = True  # only the end of the epoch is left

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._logged_steps is not None:
            trainer.fit_loop.epoch_loop._batches_that_stepped = self._logged_steps
            trainer.fit_loop.epoch_loop.restarting = False  # an epoch without a batch leaves it as it was
            self._logged_steps = None


def mend_progress(checkpoint: Mapping[str, Any]) -> int | None:
    """Make a checkpoint's counters of batches agree with each other and with what was done, in place.

    Args:
        checkpoint: what ``on_load_checkpoint`` gets; one without a fit is left alone.

    Returns:
        If the checkpoint was saved when the last batch of an epoch was done, the number of steps that loggers are to
        have seen at the end of this epoch; Lightning counts them when it validates, but not without a validation.
    """
    fit = checkpoint.get("loops", {}).get("fit_loop", {})
    batches = fit.get("epoch_loop.batch_progress")
    if batches is None:
        return None
    total, current = batches["total"], batches["current"]
    for event in ("ready", "started", "processed"):
        total[event] = total["completed"] + current[event] - current["completed"]
    if not batches["is_last_batch"] or current["processed"] != current["completed"] + 1:
        return None
    for counts in total, current:
        counts["completed"] += 1
    # The fit goes on as if it was interrupted in the first batch of the validation, which then begins anew.
    validation = fit["epoch_loop.val_loop.batch_progress"]
    for counts in validation["total"], validation["current"]:
        counts.update(ready=1, started=1, processed=0, completed=0)
    return int(fit["epoch_loop.state_dict"]["_batches_that_stepped"]) + 1
