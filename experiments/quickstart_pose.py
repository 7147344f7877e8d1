"""Train a small part-based network to find the joints of drawn figures: ``make quickstart-pose``.

No files and no network are needed. It ends with a picture of figures it has never seen, with what it finds on them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import CSVLogger
from rich.console import Console

from datamodules import LSP_SKELETON, SyntheticPoseDataModule
from lightning_modules import PartBasedPoseEstimator
from lightning_modules.networks import RePose

from .pose.costs import kinematics
from .pose.drawing import draw_pose, heatmap_sheet, mark_joints, pixels, save, sheet
from .run.command import command_parser, run_old_form
from .run.progress import with_bars

FOLDER = Path("runs/quickstart_pose")
SEED, STEPS, SIZE, RATE = 0, 700, 128, 2e-3
SHOWN = 12


def train(steps: int = STEPS, size: int = SIZE, folder: Path = FOLDER, **data: Any) -> tuple[pl.Trainer, float]:
    """Train on drawn figures, and return the Trainer and the PCK@0.2 on figures that were held out.

    Args:
        steps: optimizer steps.
        size: side of the images, px.
        folder: the folder to write to.
        data: arguments of SyntheticPoseDataModule.
    """
    pl.seed_everything(SEED, verbose=False)
    module = PartBasedPoseEstimator(
        RePose(kinematics(LSP_SKELETON), **RePose.SMALL),
        LSP_SKELETON.mirror,
        input_size=size,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=RATE, weight_decay=1e-4),
        scheduler=lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1),
    )
    figures = SyntheticPoseDataModule(**{"input_size": size, "batch_size": 16, "val_size": 0, "seed": SEED, **data})
    trainer = with_bars(
        pl.Trainer(
            max_steps=steps,
            max_epochs=-1,
            precision="bf16-mixed" if _fast_bf16() else "32-true",
            logger=CSVLogger(folder, name="run"),
            callbacks=[RichProgressBar()],
            enable_checkpointing=False,
            enable_model_summary=False,
        )
    )
    trainer.fit(module, figures)
    [score] = trainer.test(module, figures, verbose=False)
    return trainer, float(score["test/pck@0.2"])


def draw(trainer: pl.Trainer, folder: Path = FOLDER) -> list[Path]:
    """Draw held-out figures with predicted joints as lines and true joints as rings, and their heatmaps."""
    module, figures = trainer.lightning_module, trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(module, PartBasedPoseEstimator)
    batch = next(iter(figures.test_dataloader()))
    shown = np.ones(len(LSP_SKELETON.joints), bool)
    poses = []
    for image, joints in list(zip(batch["image"], batch["joints"], strict=True))[:SHOWN]:
        predicted, _ = module.predict(pixels(image))
        # The figures are drawn larger than they are, or the lines would hide them.
        large = np.repeat(np.repeat(pixels(image), 2, axis=0), 2, axis=1)
        drawn = draw_pose(large, 2 * predicted.numpy() + 0.5, LSP_SKELETON)
        poses.append(mark_joints(drawn, 2 * joints.numpy() + 0.5, shown))
    with torch.no_grad():
        levels = module(batch["image"][:1].to(module.device))
    heat = heatmap_sheet(pixels(batch["image"][0]), [level[0].float().cpu().numpy() for level in levels], LSP_SKELETON)
    pictures = {folder / "poses.png": sheet(poses, columns=4), folder / "heatmaps.png": heat}
    for path, picture in pictures.items():
        save(picture, path)
    return list(pictures)


def _fast_bf16() -> bool:
    """Return whether this machine has instructions for bfloat16 products; without them it is slower than float32."""
    return torch.cuda.is_available() or bool(torch.cpu.get_capabilities().get("amx_bf16"))


def main(args: Sequence[str] | None = None) -> None:
    parser = command_parser("quickstart-pose", __doc__)
    parser.add_argument("--steps", type=int, default=STEPS, help=f"optimizer steps, default {STEPS}")
    chosen = parser.parse_args(args)
    console = Console()
    begun = time.perf_counter()
    trainer, score = train(chosen.steps)
    console.print(
        f"PCK@0.2 on 512 held-out drawn figures: {100 * score:.1f} % "
        f"after {chosen.steps} steps, {(time.perf_counter() - begun) / 60:.1f} minutes"
    )
    for picture in draw(trainer):
        console.print(f"picture: {picture}")


if __name__ == "__main__":
    run_old_form("quickstart-pose", main)
