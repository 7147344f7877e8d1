"""The callback that draws the best and the worst poses of a validation, and heatmaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from datamodules import PoseDataModule
from datamodules.pose.skeletons import Skeleton
from lightning_modules import PartBasedPoseEstimator
from lightning_modules.networks import KinematicUpdates
from lightning_modules.pose.estimator import PoseBatch

from .drawing import Image, draw_pose, heatmap_sheet, mark_joints, pixels, plot_alphas, save, sheet


class Case(NamedTuple):
    """A person of a validation, with what was predicted."""

    error: float  # mean over annotated joints, in sizes
    image: Tensor  # (3, H, W) in [-1, 1]
    predicted: Tensor  # (K, 2) px of the image
    joints: Tensor  # (K, 2) px of the image
    visible: Tensor  # (K,) bool, True where a joint is annotated


class PosePictures(pl.Callback):
    """A callback that draws the worst and best people of a validation, heatmaps of the best, and the alphas so far.

    It writes the files ``step<8 digits>_worst.png``, ``_best.png`` and ``_heatmaps.png``, and ``alphas.png`` for a
    network with kinematic updates, and sends the same pictures to every logger that takes images (W&B, TensorBoard).
    White rings mark the true joints. It needs the data of a :class:`PoseDataModule` and a
    :class:`PartBasedPoseEstimator`.

    Args:
        count: number of people on a picture.
        every_n_validations: draw after every so many validations.
        folder: folder of the files; None for ``pictures`` in the first logger's folder.

    Raises:
        ValueError: ``count`` or ``every_n_validations`` is below 1.
        TypeError: at the start, the module or the data module is of another class.
    """

    def __init__(self, count: int = 8, *, every_n_validations: int = 1, folder: str | Path | None = None) -> None:
        for name, value in (("count", count), ("every_n_validations", every_n_validations)):
            if value < 1:
                raise ValueError(f"{name} is {value}; pass 1 or more")
        self.count = count
        self.every_n_validations = every_n_validations
        self.folder = None if folder is None else Path(folder)
        self._validations = 0
        self._best: list[Case] = []
        self._worst: list[Case] = []
        self.alphas: dict[str, dict[int, float]] = {}  # <pass>/<joint> -> step -> factor, after every validation

    def state_dict(self) -> dict[str, Any]:
        return {"alphas": self.alphas}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.alphas = state_dict["alphas"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        _skeleton(trainer)
        if not isinstance(pl_module, PartBasedPoseEstimator):
            raise TypeError(f"PosePictures draws what a PartBasedPoseEstimator finds, not {type(pl_module).__name__}")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._best, self._worst = [], []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Tensor,  # type: ignore[override]  # what PartBasedPoseEstimator.validation_step returns
        batch: PoseBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        distance = (outputs - batch["joints"]).norm(dim=2) / batch["size"][:, None]
        visible = batch["visible"]
        errors = (distance * visible).sum(1) / visible.sum(1).clamp(min=1)
        cases = [
            Case(float(error), *(tensor.detach().cpu() for tensor in person))
            for error, *person in zip(errors, batch["image"], outputs, batch["joints"], visible, strict=True)
        ]
        self._best = sorted([*self._best, *cases], key=lambda case: case.error)[: self.count]
        self._worst = sorted([*self._worst, *cases], key=lambda case: -case.error)[: self.count]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._best or trainer.sanity_checking:
            return
        updates = getattr(pl_module.network, "updates", None)
        if isinstance(updates, KinematicUpdates):
            for name, alpha in updates.alphas().items():
                self.alphas.setdefault(name, {})[trainer.global_step] = float(alpha)
        self._validations += 1
        if (self._validations - 1) % self.every_n_validations:
            return
        skeleton = _skeleton(trainer)
        pictures = {
            name: sheet([_draw_case(case, skeleton) for case in cases], columns=4)
            for name, cases in (("worst", self._worst), ("best", self._best))
        }
        pictures["heatmaps"] = self._heatmaps(pl_module, self._best[0], skeleton)
        folder = self.folder or Path(trainer.log_dir or trainer.default_root_dir) / "pictures"
        files = {name: f"step{trainer.global_step:08d}_{name}.png" for name in pictures}
        if self.alphas:
            pictures["alphas"], files["alphas"] = plot_alphas(self.alphas, skeleton.joints), "alphas.png"
        for name, picture in pictures.items():
            save(picture, folder / files[name])
            _log(trainer, f"pictures/{name}", picture)

    @torch.no_grad()
    def _heatmaps(self, module: pl.LightningModule, case: Case, skeleton: Skeleton) -> Image:
        levels = module(case.image[None].to(module.device))
        return heatmap_sheet(pixels(case.image), [level[0].float().cpu().numpy() for level in levels], skeleton)


def _draw_case(case: Case, skeleton: Skeleton) -> Image:
    drawn = draw_pose(pixels(case.image), case.predicted.numpy().astype(np.float64), skeleton)
    return mark_joints(drawn, case.joints.numpy().astype(np.float64), case.visible.numpy().astype(bool))


def _skeleton(trainer: pl.Trainer) -> Skeleton:
    data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning does not declare it
    if not isinstance(data, PoseDataModule):
        raise TypeError(f"PosePictures needs the data of a PoseDataModule, not {type(data).__name__}")
    return data.skeleton


def _log(trainer: pl.Trainer, name: str, picture: Image) -> None:
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [picture], step=trainer.global_step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, trainer.global_step, dataformats="HWC")
