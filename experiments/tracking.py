"""W&B that never asks and never stops a run: online where it can be, offline elsewhere, and names that group runs."""

from __future__ import annotations

import functools
import importlib
import netrc
import os
import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlparse

import wandb
from jsonargparse import Namespace
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_warn
from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

from callbacks import MaskOwner

DEFAULT_SERVER = "https://api.wandb.ai"
FINISH_SECONDS = "300"  # that a run which has ended waits for a server; the rest stays for wandb sync
# what W&B's client raises when its service is gone, or its files cannot be written
LOST = (wandb.Error, HandleAbandonedError, MailboxClosedError, OSError)


def set_wandb_mode(timeout: float = 3.0) -> str:
    """Choose W&B's mode for this process and return it: "online" or "offline", or what WANDB_MODE says.

    Online needs an account (the WANDB_API_KEY variable or a netrc entry, as ``wandb login`` writes it) and a
    server that answers within ``timeout`` seconds; otherwise runs are kept in wandb/ for ``wandb sync``. A server that
    goes away later holds up the end of a run for WANDB_FINISH_TIMEOUT seconds, 300 by default.
    """
    os.environ.setdefault("WANDB_FINISH_TIMEOUT", FINISH_SECONDS)
    return os.environ.setdefault("WANDB_MODE", "online" if wandb_answers(timeout) else "offline")


def wandb_answers(timeout: float = 3.0) -> bool:
    """Whether there is an account, and a server that answers within so many seconds."""
    server = urlparse(os.environ.get("WANDB_BASE_URL", DEFAULT_SERVER))
    host, port = server.hostname or "", server.port or (443 if server.scheme == "https" else 80)
    return _has_account(host) and _answers(host, port, timeout)


def finish_wandb() -> None:
    """End this process's W&B run, if there is one, so that the next WandbLogger starts its own."""
    if wandb.run is not None:
        Patience().attempt(wandb.finish)


class Patience:
    """Lets W&B fail: once it has, one warning, and nothing more is sent.

    Attributes:
        failed: whether it has.
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

    def guard(self, logger: WandbLogger) -> None:
        """Let whatever anybody logs with a logger fail like this."""
        for name in ("log_metrics", "log_hyperparams"):
            setattr(logger, name, functools.partial(self.attempt, getattr(logger, name)))


def name_runs(config: Namespace, method: str | None = None) -> None:
    """Fill in what W&B groups runs by, in the loggers of a command's configuration.

    A run's job type becomes the method, where the file gives none; its name ends in the seed. The file's ``group`` is
    the study.

    Args:
        config: with ``seed_everything`` and ``trainer``; changed in place.
        method: None for the class of the callback that owns the masks, or "dense".
    """
    loggers = config.trainer.logger if isinstance(config.trainer.logger, list) else [config.trainer.logger]
    for logger in loggers:
        if not isinstance(logger, Namespace) or not _is(logger, WandbLogger):
            continue
        arguments = logger.init_args
        if arguments.get("job_type") is None:
            arguments["job_type"] = method or _method(config.trainer.callbacks)
        if arguments.get("name"):
            arguments["name"] = f"{re.sub(r'-seed[0-9]+$', '', arguments['name'])}-seed{config.seed_everything}"


def _method(callbacks: object) -> str:
    listed = callbacks if isinstance(callbacks, list) else [callbacks]
    owners = [callback for callback in listed if isinstance(callback, Namespace) and _is(callback, MaskOwner)]
    return owners[-1].class_path.rpartition(".")[2] if owners else "dense"


def _is(given: Namespace, kind: type) -> bool:
    module, _, name = given.class_path.rpartition(".")
    return issubclass(getattr(importlib.import_module(module), name), kind)


def _has_account(host: str) -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(host) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


def _answers(host: str, port: int, timeout: float) -> bool:
    try:
        with socket.create_connection((host, port), timeout):
            return True
    except OSError:
        return False
