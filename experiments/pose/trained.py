"""A trained pose estimator, and what it predicts for people."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.cli import LightningCLI

from datamodules.pose.people import People
from lightning_modules import PartBasedPoseEstimator

from ..run.command import add_trust
from ..run.trained import load_trained
from .predictions import Predictions


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a trained run."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="of a run of python -m experiments fit")
    parser.add_argument("--config", type=Path, help="the run's YAML file; default: config.yaml in the run's folder")
    add_trust(parser)


def load_estimator(chosen: argparse.Namespace) -> LightningCLI:
    """Load the pose estimator and its data that the arguments of :func:`add_run_arguments` name."""
    return load_trained(chosen.checkpoint, chosen.config, kind=PartBasedPoseEstimator, trust=chosen.trust)


def predict_test(cli: LightningCLI, people: People | None = None) -> Predictions:
    """Predict people, and return predicted and true joints in px of the photos.

    Args:
        cli: holds the estimator and its data.
        people: the people to predict; None for the test people.
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
