"""A trained module and its data, from a checkpoint and the configuration that its run left beside it."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningCLI

from callbacks.files.safe_files import read_checkpoint

from .configuration import RunCLI, check_named, config_beside
from .yaml_files import read_yaml


def load_trained(
    checkpoint: Path,
    config: Path | None = None,
    *,
    kind: type[pl.LightningModule] = pl.LightningModule,
    data: Path | None = None,
    trust: bool = False,
) -> LightningCLI:
    """Load a module with a checkpoint's weights as ``.model``, in evaluation mode, and its data as ``.datamodule``.

    Args:
        checkpoint: a checkpoint that a fit of ``python -m experiments`` wrote.
        config: the run's YAML file; None for ``config.yaml`` in the folder of the run that the checkpoint is in.
        kind: what the module must be.
        data: the folder of the data set; None for the configuration's.
        trust: whether a configuration that was found beside the checkpoint may name code outside this project and the
            installed packages.

    Raises:
        FileNotFoundError: there is no checkpoint or no configuration.
        ValueError: the checkpoint or the configuration is damaged, or they are of different networks; or the
            configuration that was found names code that is not trusted.
    """
    weights = read_checkpoint(checkpoint)["state_dict"]
    found, config = config is None, config or config_beside(checkpoint)
    settings = read_yaml(config)
    if found:
        check_named(settings, config, trust=trust)
    if not isinstance(settings, dict) or not {"model", "data"} <= settings.keys():
        raise ValueError(f"{str(config)!r} is not the configuration of a run: it needs model and data")
    if data is not None:
        settings["data"].setdefault("init_args", {})["root"] = str(data)
    cli = RunCLI(
        kind,
        save_config_callback=None,
        seed_everything_default=False,
        run=False,
        args={
            "model": settings["model"],
            "data": settings["data"],
            "trainer": {"logger": False, "enable_checkpointing": False, "devices": 1},
        },
    )
    try:
        cli.model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{str(checkpoint)!r} does not fit the model of {str(config)!r}: {error}") from error
    cli.model.eval()
    return cli
