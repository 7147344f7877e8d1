"""The YAML file of a run: the classes that it may name in short, the arguments that seed it, and where it lies."""

from __future__ import annotations

from pathlib import Path

import yaml  # type: ignore[import-untyped]

# YAML finds a class by its short name because it is imported here
import callbacks
import datamodules
import lightning_modules
import lightning_modules.networks

__all__ = ["callbacks", "config_beside", "datamodules", "lightning_modules", "run_name", "seed_arguments"]


def seed_arguments(config: Path, seed: int) -> list[str]:
    """The same seed for network, data order and masks: those of the last callback, if it takes one."""
    last = yaml.safe_load(config.read_text())["trainer"]["callbacks"][-1]
    masks = [f"--trainer.callbacks.seed={seed}"] if "seed" in last.get("init_args", {}) else []
    return [f"--seed_everything={seed}", f"--data.init_args.seed={seed}", *masks]


def config_beside(checkpoint: Path) -> Path:
    """The ``config.yaml`` in the folder of the run that a checkpoint is in.

    Raises:
        FileNotFoundError: there is none.
    """
    for folder in checkpoint.resolve().parents[:3]:
        if (folder / "config.yaml").is_file():
            return folder / "config.yaml"
    raise FileNotFoundError(f"there is no config.yaml near {str(checkpoint)!r}: give the run's YAML file with --config")


def run_name(checkpoint: Path, config: Path | None = None) -> str:
    """What a run is called: by the file that it was started with, or by its folder."""
    return config.stem if config else config_beside(checkpoint).parents[1].name
