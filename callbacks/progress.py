"""What Lightning saves of a fit's progress, put right, so that a run may be interrupted any number of times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mend_progress(checkpoint: Mapping[str, Any]) -> None:
    """Make the counters of batches in a checkpoint agree with each other, in place.

    When a fit goes on, Lightning (2.6) puts its counters of the epoch back to the batches that are complete, but
    leaves the totals over all epochs as they were. A second interruption is then taken for one at another place, and a
    batch is left out, or an epoch begins anew.

    Args:
        checkpoint: as ``on_load_checkpoint`` gets it; one without a fit is left alone.
    """
    fit = checkpoint.get("loops", {}).get("fit_loop", {})
    batches = fit.get("epoch_loop.batch_progress")
    if batches is None:
        return
    total, current = batches["total"], batches["current"]
    for event in ("ready", "started", "processed"):
        total[event] = total["completed"] + current[event] - current["completed"]
    if batches["is_last_batch"] and current["processed"] == current["completed"] + 1:
        # saved in on_train_batch_end of an epoch's last batch: all of the epoch's batches are done
        total["completed"] += 1
        current["completed"] += 1
        fit["epoch_progress"]["total"]["processed"] += 1
        fit["epoch_progress"]["current"]["processed"] += 1
