"""The YAML file of a run: the classes that it may name in short, the arguments that seed it, and where it lies."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

# YAML finds a class by its short name because it is imported here.
import callbacks
import datamodules
import lightning_modules
import lightning_modules.networks

from .yaml_files import read_yaml

__all__ = ["RunCLI", "callbacks", "config_beside", "datamodules", "lightning_modules", "run_name", "seed_arguments"]


class RunCLI(LightningCLI):
    """A LightningCLI for the module and the data that YAML names; a command gives it its arguments.

    Args:
        module: what the module must be.
        arguments: further arguments of LightningCLI.
    """

    def __init__(self, module: type[pl.LightningModule] = pl.LightningModule, **arguments: Any) -> None:
        data = pl.LightningDataModule
        super().__init__(module, data, subclass_mode_model=True, subclass_mode_data=True, **arguments)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse without Lightning's warning that the process has a command line, too."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
            super().parse_arguments(parser, args)


def seed_arguments(config: Path, seed: int) -> list[str]:
    """Return arguments that give network and data order a seed, and masks the same if the last callback takes one."""
    trainer = (read_yaml(config) or {}).get("trainer") or {}
    last = (trainer.get("callbacks") or [{}])[-1]
    masks = [f"--trainer.callbacks.seed={seed}"] if "seed" in last.get("init_args", {}) else []
    return [f"--seed_everything={seed}", f"--data.init_args.seed={seed}", *masks]


def config_beside(checkpoint: Path) -> Path:
    """Return the path of the ``config.yaml`` in the folder of the run that a checkpoint is in.

    Raises:
        FileNotFoundError: there is none.
    """
    for folder in checkpoint.resolve().parents[:3]:
        if (folder / "config.yaml").is_file():
            return folder / "config.yaml"
    raise FileNotFoundError(f"there is no config.yaml near {str(checkpoint)!r}: give the run's YAML file with --config")


def run_name(checkpoint: Path, config: Path | None = None) -> str:
    """Return the name of a run: that of the file with which it was started, or that of its folder."""
    return config.stem if config else config_beside(checkpoint).parents[1].name
