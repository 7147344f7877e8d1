"""The names and job types by which W&B groups runs."""

from __future__ import annotations

import importlib
import re

from jsonargparse import Namespace
from pytorch_lightning.loggers import WandbLogger

from callbacks import MaskOwner


def wandb_loggers(config: Namespace) -> list[Namespace]:
    """Return the W&B loggers of a command's configuration."""
    loggers = config.trainer.logger if isinstance(config.trainer.logger, list) else [config.trainer.logger]
    return [logger for logger in loggers if isinstance(logger, Namespace) and _is(logger, WandbLogger)]


def name_runs(config: Namespace, method: str | None = None) -> None:
    """Fill in what W&B groups runs by, in the loggers of a command's configuration.

    A run's job type becomes the method, where the file gives none; its name ends in the seed. The file's ``group`` is
    the study.

    Args:
        config: a configuration with ``seed_everything`` and ``trainer``, which is changed in place.
        method: the job type; None for the class of the callback that owns the masks, or "dense".
    """
    for logger in wandb_loggers(config):
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
