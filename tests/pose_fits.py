"""A tiny pose estimator and a few drawn figures that tests share."""

from __future__ import annotations

from typing import Any

import torch

from datamodules import LSP_SKELETON, SyntheticPoseDataModule
from lightning_modules import PartBasedPoseEstimator
from lightning_modules.networks import Kinematics, RePose

TINY = {"width": 8, "channels": 4, "hidden": 4, "stem": 8}


def network(alpha: float = 0.1) -> RePose:
    torch.manual_seed(0)
    kinematics = Kinematics(14, LSP_SKELETON.edges, LSP_SKELETON.root, alpha=alpha)
    return RePose(kinematics, **TINY)


def estimator(**arguments: Any) -> PartBasedPoseEstimator:
    settings = {"mirror": LSP_SKELETON.mirror, "input_size": 32, **arguments}
    return PartBasedPoseEstimator(settings.pop("network", None) or network(), **settings)


def figures(**arguments: Any) -> SyntheticPoseDataModule:
    sizes = {"train_size": 12, "val_size": 4, "test_size": 4, "input_size": 32, "batch_size": 4}
    return SyntheticPoseDataModule(**sizes | arguments)
