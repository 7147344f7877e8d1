"""The YAML file of a run: what it may name, the arguments that seed it, and where it lies."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import re
import site
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

# YAML finds a class by its short name because it is imported here.
import callbacks
import datamodules
import lightning_modules
import lightning_modules.networks  # noqa: F401  # names its networks in YAML
from callbacks.files.safe_files import read_checkpoint

from .command import TRUST
from .yaml_files import read_yaml

__all__ = [
    "RunCLI",
    "callbacks",
    "check_named",
    "config_beside",
    "datamodules",
    "lightning_modules",
    "run_name",
    "seed_arguments",
]


for name in datamodules.__all__:
    getattr(datamodules, name)  # imports what is imported when it is asked for

ROOT = Path(__file__).parents[2]
OWN = {"callbacks", "datamodules", "experiments", "lightning_modules"}
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


class RunCLI(LightningCLI):
    """A LightningCLI for the module and the data that YAML names; a command gives it its arguments.

    Args:
        module: what the module must be.
        trust: whether a checkpoint may name code outside this project and the installed packages.
        arguments: further arguments of LightningCLI.
    """

    def __init__(
        self, module: type[pl.LightningModule] = pl.LightningModule, *, trust: bool = False, **arguments: Any
    ) -> None:
        self._trust = trust
        data = pl.LightningDataModule
        super().__init__(module, data, subclass_mode_model=True, subclass_mode_data=True, **arguments)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse without Lightning's warning that the process has a command line, too."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
            super().parse_arguments(parser, args)
        path = (self.config.get(self.config.get("subcommand") or "") or {}).get("ckpt_path")
        if path and Path(path).is_file():  # LightningCLI makes the class that a checkpoint names
            check_named(read_checkpoint(path).get("hyper_parameters"), Path(path), trust=self._trust)


def check_named(settings: object, source: Path, *, trust: bool) -> None:
    """Refuse settings that name code outside this project and the installed packages; nothing is imported here.

    Args:
        settings: what a file says, as mappings, lists and plain values.
        source: the file, for messages.
        trust: whether such code is allowed; what it is, is then said on stderr.

    Raises:
        ValueError: the settings name such code, or another file of settings, and ``trust`` is False.
    """
    for text in _texts(settings):
        what = f"{str(source)!r} names {text!r}, "
        if text.endswith((".yaml", ".yml", ".json")) and Path(text).is_file():
            what += "a file with more settings"
        elif DOTTED.fullmatch(text) and (place := _stranger(text.partition(".")[0])):
            what += f"which is imported from {place!r}, outside this project and the installed packages"
        else:
            continue
        if not trust:
            raise ValueError(f"{what}: give {TRUST} if you trust whoever wrote these files")
        print(what, file=sys.stderr)


def _texts(settings: object) -> Iterator[str]:
    """Yield all strings in settings."""
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, Mapping):
        for value in settings.values():
            yield from _texts(value)
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            yield from _texts(value)


def _stranger(name: str) -> str | None:
    """Return where a package is that is neither of this project nor installed; None if there is none or it is."""
    try:
        spec = importlib.machinery.PathFinder.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None  # there is none, or it is built in
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or [])
    known = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    known += [*site.getsitepackages(), site.getusersitepackages()]
    known += [str(ROOT / name)] if name in OWN else []
    strange = [place for place in places if not any(Path(place).is_relative_to(folder) for folder in known)]
    installed = strange and name in importlib.metadata.packages_distributions()  # from a folder of its own
    return strange[0] if strange and not installed else None


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
