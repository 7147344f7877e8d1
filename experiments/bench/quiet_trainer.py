"""The Trainer of the benches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl

RANKS = int(os.environ.get("WORLD_SIZE", 1))  # torchrun sets it


def quiet_trainer(callbacks: Sequence[pl.Callback], **arguments: Any) -> pl.Trainer:
    return pl.Trainer(
        devices=RANKS,
        strategy="ddp" if RANKS > 1 else "auto",
        use_distributed_sampler=False,  # each process takes as many steps as one alone would
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        **{"accelerator": "cpu", "logger": False, **arguments},
    )
