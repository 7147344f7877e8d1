"""A trained pose estimator and its data, from a checkpoint and the configuration that its run left beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml  # type: ignore[import-untyped]
from pytorch_lightning.cli import LightningCLI

from datamodules.people import People

# the classes of .cli are found in YAML by their short names
from ..cli import lightning_modules
from .predictions import Predictions


def trained(checkpoint: Path, config: Path | None = None) -> LightningCLI:
    """The estimator with the checkpoint's weights, in evaluation mode, as ``.model``, and its data as ``.datamodule``.

    Args:
        checkpoint: written by a fit of ``python -m experiments``.
        config: the run's YAML file; None for ``config.yaml`` in the folder of the run that the checkpoint is in.

    Raises:
        FileNotFoundError: there is no checkpoint or no configuration.
        ValueError: the checkpoint is damaged, or of another network than the configuration's.
    """
    if not checkpoint.is_file():
        raise FileNotFoundError(f"there is no checkpoint {str(checkpoint)!r}")
    config = config or _config_beside(checkpoint)
    settings = yaml.safe_load(config.read_text())
    cli = LightningCLI(
        lightning_modules.PartBasedPoseEstimator,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=None,
        run=False,
        args={
            "model": settings["model"],
            "data": settings["data"],
            "trainer": {"logger": False, "enable_checkpointing": False, "devices": 1},
        },
    )
    try:
        weights = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        cli.model.load_state_dict(weights)
    except (RuntimeError, LookupError) as error:
        raise ValueError(f"{str(checkpoint)!r} does not fit the model of {str(config)!r}: {error}") from error
    cli.model.eval()
    return cli


def predict_test(cli: LightningCLI, people: People | None = None) -> Predictions:
    """The joints, found and true, in px of the photos.

    Args:
        cli: the estimator and its data.
        people: whom to look at; None for the test people.
    """
    cli.model.eval()
    people = cli.datamodule.people("test") if people is None else people
    loader = cli.datamodule.ordered_dataloader(people)
    batches: list[Any] = cli.trainer.predict(cli.model, loader, ckpt_path=None) or []
    index = torch.cat([batch["index"] for batch in batches]).cpu()
    people = people.take(index.numpy())
    pred = torch.cat([batch["joints"] for batch in batches]).double().cpu()
    target, visible, size = map(torch.from_numpy, (people.joints, people.visible, people.sizes))
    return Predictions(pred, target, visible, size)


def _config_beside(checkpoint: Path) -> Path:
    for folder in checkpoint.resolve().parents[:3]:
        if (folder / "config.yaml").is_file():
            return folder / "config.yaml"
    raise FileNotFoundError(f"there is no config.yaml near {str(checkpoint)!r}: give the run's YAML file with --config")
