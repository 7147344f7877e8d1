"""A trained pose estimator and what it finds in people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.cli import LightningCLI

from datamodules.pose.people import People
from lightning_modules import PartBasedPoseEstimator

from .. import trained as any_trained
from .predictions import Predictions


def trained(checkpoint: Path, config: Path | None = None) -> LightningCLI:
    """:func:`experiments.trained.trained` of a pose estimator."""
    return any_trained.trained(checkpoint, config, kind=PartBasedPoseEstimator)


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
