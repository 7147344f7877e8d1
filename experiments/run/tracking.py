"""W&B that never asks and never stops a run: online where it can be, and offline elsewhere."""

from __future__ import annotations

import functools
import os
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import wandb
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn
from wandb.sdk import wandb_setup
from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

from .wandb_probe import find_account, why_refused

FINISH_SECONDS = "300"  # how long an ended run waits for a server; the rest stays for wandb sync
INIT_SECONDS = "6"  # how long a server may take to let a run begin
# The errors that W&B's client raises when its service is gone, or its files cannot be written.
LOST = (wandb.Error, HandleAbandonedError, MailboxClosedError, OSError)


def set_wandb_mode(timeout: float = 5.0) -> str:
    """Choose W&B's mode for the runs to come, and return it: "online", "offline", or another that WANDB_MODE says.

    Online needs an account (the WANDB_API_KEY variable or a netrc entry, as ``wandb login`` writes it) and a server
    that takes it within ``timeout`` seconds; otherwise runs are kept in wandb/ for ``wandb sync``, and if it is the
    server's fault, one line says so. To be called again before the next run of a process, since a server may turn bad
    meanwhile. One that goes away later holds up the end of a run for WANDB_FINISH_TIMEOUT seconds, 300 by default.
    """
    os.environ.setdefault("WANDB_FINISH_TIMEOUT", FINISH_SECONDS)
    os.environ.setdefault("WANDB_INIT_TIMEOUT", INIT_SECONDS)
    asked = os.environ.get("WANDB_MODE")
    if asked not in (None, "online") or wandb.run is not None or rank_zero_only.rank:  # type: ignore[attr-defined]
        return asked or "online"
    try:
        account = find_account()
        why = why_refused(*account, timeout) if account else ""
    except wandb.Error as error:
        account, why = None, f"is not asked, there is no valid key: {error}"
    if why:
        _go_offline(why)
    else:
        _set_mode("online" if account else asked or "offline")
    return os.environ["WANDB_MODE"]


def begin_runs(trainer: pl.Trainer) -> None:
    """Begin the W&B runs of a Trainer; offline, where a server that took the account fails now.

    Where Lightning starts the processes of a fit, the run begins in one of them, and not here.
    """
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        return
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            try:
                _ = logger.experiment
            except LOST as error:
                if os.environ.get("WANDB_MODE") != "online":
                    raise
                _go_offline(f"does not let a run begin ({error})")
                _ = logger.experiment


def _go_offline(why: str) -> None:
    """Keep all further runs of this process offline, and say so in a line."""
    server = wandb_setup.singleton().settings.base_url
    print(
        f"W&B: {server} {textwrap.shorten(why, 160)}. The run goes on offline, in a folder offline-run-* in wandb/ "
        "where it is saved; send it later with `wandb sync FOLDER`",
        file=sys.stderr,
    )
    _set_mode("offline")


def _set_mode(mode: str) -> None:
    """Let this process's next runs, and its processes, have this mode."""
    if os.environ.get("WANDB_MODE") != mode:
        os.environ["WANDB_MODE"] = mode
        wandb.teardown()  # W&B's client reads the environment only once


def finish_wandb() -> None:
    """End this process's W&B run, if there is one, so that the next WandbLogger starts its own."""
    if wandb.run is not None:
        WandbGuard().attempt(wandb.finish)


class WandbGuard:
    """A guard that lets W&B fail: the first failure is one warning, and then nothing more is sent.

    Attributes:
        failed: whether W&B has failed.
    """

    def __init__(self) -> None:
        self.failed = False

    def attempt(self, send: Callable[..., None], *arguments: Any, **named: Any) -> None:
        """Call ``send``, unless W&B has failed before."""
        if self.failed:
            return
        try:
            send(*arguments, **named)
        except LOST as error:
            self.failed = True
            rank_zero_warn(
                f"W&B failed ({error!r}): the run goes on, but no more of it is sent or kept there. What was logged "
                "until now is in the run's folder, for wandb sync"
            )

    def protect(self, logger: WandbLogger) -> None:
        """Let everything that is logged with a logger fail in this way, too."""
        for name in ("log_metrics", "log_hyperparams"):
            setattr(logger, name, functools.partial(self.attempt, getattr(logger, name)))
