"""Pictures of poses: what is drawn where, and the callback that draws them during a fit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fits import TinyModule, loader, trainer
from pose_fits import estimator, figures

from datamodules import LSP_SKELETON
from experiments.pose import PosePictures
from experiments.pose.drawing import (
    LEFT,
    RIGHT,
    draw_pose,
    heatmap_sheet,
    mark_joints,
    pixels,
    plot_alphas,
    save,
    sheet,
)

BLACK = np.zeros((100, 100, 3), np.uint8)


def spread() -> np.ndarray:
    """14 joints far from one another."""
    return np.array([(10 + 26 * (k % 4), 10 + 26 * (k // 4)) for k in range(14)], float)


def test_joints_are_drawn_where_they_are_in_the_colour_of_their_side() -> None:
    joints = spread()
    drawn = draw_pose(BLACK, joints, LSP_SKELETON)
    for k, name in enumerate(LSP_SKELETON.joints):
        x, y = joints[k].astype(int)
        colour = LEFT if name.startswith("left") else RIGHT if name.startswith("right") else None
        if colour:
            assert tuple(drawn[y, x]) == colour, name
    assert not BLACK.any(), "the image itself stays as it is"


def test_what_is_not_shown_is_not_drawn() -> None:
    shown = np.zeros(14, bool)
    assert not draw_pose(BLACK, spread(), LSP_SKELETON, shown).any()
    shown[0] = True
    drawn = draw_pose(BLACK, spread(), LSP_SKELETON, shown)
    ys, xs = np.nonzero(drawn.any(2))
    assert np.hypot(xs - 10, ys - 10).max() < 4


def test_joints_far_outside_or_not_finite_do_no_harm() -> None:
    joints = spread()
    joints[0], joints[1] = (np.nan, np.inf), (1e12, -1e12)
    assert draw_pose(BLACK, joints, LSP_SKELETON).any()


def test_rings_mark_true_joints() -> None:
    drawn = mark_joints(BLACK, spread(), np.arange(14) == 5)
    ys, xs = np.nonzero(drawn.any(2))
    assert abs(xs.mean() - 36) < 0.5
    assert abs(ys.mean() - 36) < 0.5
    assert not drawn[36, 36].any()


def test_a_sheet_has_every_image_in_its_place() -> None:
    images = [np.full((8, 6, 3), value, np.uint8) for value in (50, 100, 150)]
    page = sheet(images, columns=2, gap=2)
    assert page.shape == (2 * 10 + 2, 2 * 8 + 2, 3)
    assert (page[2:10, 2:8] == 50).all()
    assert (page[2:10, 10:16] == 100).all()
    assert (page[12:20, 2:8] == 150).all()
    with pytest.raises(ValueError, match="images of one size"):
        sheet([], columns=2)
    with pytest.raises(ValueError, match="images of one size"):
        sheet([images[0], images[0][:4]], columns=2)


def test_a_heatmap_is_bright_where_it_is_high() -> None:
    levels = [np.zeros((14, 4, 4)), np.zeros((14, 8, 8))]
    levels[1][3, 6, 1] = 1
    page = heatmap_sheet(BLACK, levels, LSP_SKELETON).astype(int).sum(2)
    y, x = np.unravel_index(page[20:].argmax(), page[20:].shape)
    assert 3 < x / 116 < 3.4, "the fourth joint, left"
    assert y > 116 + 0.6 * 112, "the second level, low"


def test_pixels_undo_the_normalization() -> None:
    image = torch.tensor([-1.0, 0.0, 1.0])[:, None, None].expand(3, 2, 4)
    assert (pixels(image) == [0, 128, 255]).all()


def test_alphas_are_plotted_and_images_saved(tmp_path: Path) -> None:
    curves = {f"{name}/{k}": {0: 0.0, 10: 0.1 * k} for name in ("0_inward", "1_outward") for k in range(14)}
    save(plot_alphas(curves, LSP_SKELETON.joints), tmp_path / "deep" / "alphas.png")
    assert cv2.imread(str(tmp_path / "deep" / "alphas.png")).shape[1] > 1000
    red = np.zeros((4, 5, 3), np.uint8)
    red[..., 0] = 255
    save(red, tmp_path / "red.png")
    assert (cv2.imread(str(tmp_path / "red.png"))[..., 2] == 255).all()


def test_a_fit_leaves_pictures_of_its_validations(tmp_path: Path) -> None:
    pictures = PosePictures(3, every_n_validations=2, folder=tmp_path)
    trainer([pictures], max_steps=9, num_sanity_val_steps=1).fit(estimator(), figures())
    names = sorted(path.name for path in tmp_path.iterdir())
    drawn = [f"step{step:08d}_{name}.png" for step in (3, 9) for name in ("best", "heatmaps", "worst")]
    assert names == ["alphas.png", *drawn]
    assert all(list(curve) == [3, 6, 9] for curve in pictures.alphas.values())
    assert len(pictures.alphas) == 28
    resumed = PosePictures(3, folder=tmp_path)
    resumed.load_state_dict(pictures.state_dict())
    assert resumed.alphas == pictures.alphas
    errors = [[case.error for case in cases] for cases in (pictures._best, pictures._worst)]
    assert errors[0] == sorted(errors[0])
    assert errors[1] == sorted(errors[1], reverse=True)
    assert errors[0][0] < errors[1][0]


def test_other_modules_and_data_are_refused() -> None:
    with pytest.raises(TypeError, match="needs the data of a PoseDataModule"):
        trainer([PosePictures()]).fit(TinyModule(), loader())
    with pytest.raises(ValueError, match="count is 0"):
        PosePictures(0)
