"""Leeds Sports Pose and its extended training set, from their official folders."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..files.matlab import FIRST_PIXEL, read_mat
from ..files.photos import Photos
from ..loading.arguments import check_at_least
from ..loading.counters import numpy_generator
from ..loading.hold_out import hold_out
from .crop import LSP_MARGIN, Bools, Floats, image_box, person_box
from .datamodule import PoseDataModule
from .people import People
from .skeletons import LSP_SKELETON, torso_sizes

RIGHT_HIP, LEFT_HIP, RIGHT_SHOULDER, LEFT_SHOULDER = 2, 3, 8, 9
RIGHT_LEG, LEFT_LEG = [0, 1, 2], [5, 4, 3]
RIGHT_ARM, LEFT_ARM = [6, 7, 8], [11, 10, 9]

TORSO_SHARE = 0.41
"""The torso of a person in longer sides of the box of joints (median of LSP-extended)."""

Relabel = Callable[[Floats, Bools], tuple[Floats, Bools]]
"""A function that gives joints and their visibility other sides, as `observer_centric` does."""


def observer_centric(joints: Floats, visible: Bools) -> tuple[Floats, Bools]:
    """Return joints (N, 14, 2) and whether they are labelled (N, 14), with left and right as the observer sees them.

    Arms and legs are looked at by themselves. Seen with the torso upright, the shoulder (hip) on the left
    is called the right one, as it is of a person who faces the observer; where it is called the left one, the
    limbs change names. People with an unlabelled shoulder or hip stay as they are.

    Reference:
        Eichner and Ferrari, Appearance Sharing for Collective Human Pose Estimation, ACCV 2012, whose rule
        this is. It changes 756 of LSP's 2000 people, 380 of them in the test set.
    """
    up = (joints[:, [RIGHT_SHOULDER, LEFT_SHOULDER]] - joints[:, [RIGHT_HIP, LEFT_HIP]]).sum(1)
    known = visible[:, [RIGHT_HIP, LEFT_HIP, RIGHT_SHOULDER, LEFT_SHOULDER]].all(1)
    joints, visible = joints.copy(), visible.copy()
    for right, left in (RIGHT_ARM, LEFT_ARM), (RIGHT_LEG, LEFT_LEG):
        across = joints[:, left[2]] - joints[:, right[2]]
        rows = np.flatnonzero(known & (up[:, 0] * across[:, 1] < up[:, 1] * across[:, 0]))[:, None]
        for values in joints, visible:
            values[rows, right + left] = values[rows, left + right]
    return joints, visible


def read_lsp(root: Path, relabel: Relabel | None = None) -> People:
    """Return the people of the folder `lsp_dataset`, in its order; the first half is for training.

    All joints are labelled (the file's third row tells which are occluded; they count like others). The crop is
    the square around the whole image, so that no ground truth enters a test.

    Raises:
        FileNotFoundError: joints.mat or an image is missing.
        ValueError: joints.mat or an image is damaged or not what it should be.
    """
    path = root / "joints.mat"
    table = _read_joints(path, (3, 14)).transpose(2, 1, 0)
    photos = _find_photos(root, "im{:04d}.jpg", len(table))
    joints, visible = table[..., :2] - FIRST_PIXEL, np.ones(table.shape[:2], bool)
    if relabel:
        joints, visible = relabel(joints, visible)
    boxes = np.array([image_box(*photos[row].shape[1::-1]) for row in range(len(table))])
    names = [str(path) for path in photos.paths]
    return People(LSP_SKELETON, photos, names, joints, visible, torso_sizes(joints), boxes)


def read_lspet(root: Path, relabel: Relabel | None = None) -> People:
    """Return the people of the folder `lspet_dataset`, in its order, all of them for training.

    The crop is the square around the labelled joints with the margin that LSP's images have. Where left
    shoulder or right hip is not labelled, the size is 0.41 of the joints' longer side.

    Raises:
        FileNotFoundError: joints.mat or an image is missing.
        ValueError: joints.mat is damaged or not what it should be, or an image is empty.
    """
    path = root / "joints.mat"
    table = _read_joints(path, (14, 3)).transpose(2, 0, 1)
    photos = _find_photos(root, "im{:05d}.jpg", len(table))
    names = [str(path) for path in photos.paths]
    if not np.isin(table[..., 2], (0, 1)).all():
        raise ValueError(f"the third column of {path} is not 0 or 1 everywhere; take the data set's own joints.mat")
    joints, visible = table[..., :2] - FIRST_PIXEL, table[..., 2] == 1
    if relabel:
        joints, visible = relabel(joints, visible)
    boxes = np.empty((len(table), 3))
    for row, name in enumerate(names):
        try:
            boxes[row] = person_box(joints[row], visible[row])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    guessed = TORSO_SHARE / LSP_MARGIN * boxes[:, 2]
    sizes = np.where(visible[:, LEFT_SHOULDER] & visible[:, RIGHT_HIP], torso_sizes(joints), guessed)
    return People(LSP_SKELETON, photos, names, joints, visible, sizes, boxes)


class LSPDataModule(PoseDataModule):
    """Leeds Sports Pose: 1000 training people and 1000 test people.

    Batches are described in `PoseSamples`; `size` is the torso, left shoulder to right hip.

    Args:
        root: folder that holds `lsp_dataset` and, for `extended`, `lspet_dataset`, as they are distributed.
        extended: train on the 10,000 people of LSP-extended too.
        observer_centric: call left and right as the observer sees them (see `observer_centric`) instead of
            as the person does. Older results are in this setting, which is easier by about 8 points.
        val_size: number of LSP's training people held out for validation, chosen by `seed`.
        repeats: times that each of LSP's own training people is shown in an epoch; LSP-extended has more people,
            less carefully labelled.
        box_scale: side of every box, in sides of those that `read_lsp` and `read_lspet` give. 0.9 cuts joints
            off 4 % of LSP's training people, and shows the others larger.
        loading: see `PoseDataModule`.

    Raises:
        ValueError: an argument is out of range; or in `setup`, a file is damaged.
        FileNotFoundError: in `setup`, a file is missing.

    Reference:
        Johnson and Everingham, BMVC 2010 and CVPR 2011.
    """

    def __init__(
        self,
        root: str | Path = "data",
        *,
        extended: bool = True,
        observer_centric: bool = False,
        val_size: int = 0,
        repeats: int = 1,
        box_scale: float = 1.0,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        check_at_least(0, val_size=val_size)
        check_at_least(1, repeats=repeats)
        if not 0 < box_scale < math.inf:
            raise ValueError(f"box_scale is {box_scale}; pass a positive number, 1 for the boxes as they are.")
        self.root, self.extended, self.observer_centric = Path(root), extended, observer_centric
        self.val_size, self.repeats, self.box_scale = val_size, repeats, box_scale

    def read(self) -> dict[str, People]:
        """Return the people of "train" and "test" and, unless `val_size` is 0, of "val"."""
        relabel = observer_centric if self.observer_centric else None
        everyone = read_lsp(self.root / "lsp_dataset", relabel)
        half = len(everyone) // 2
        order = numpy_generator(self.seed).permutation(half)
        rows = hold_out(self.val_size, order, f"there are {half} people to train on")
        rows |= {"train": np.tile(rows["train"], self.repeats), "test": np.arange(half, len(everyone))}
        splits = {name: everyone.take(rows[name]) for name in rows}
        if self.extended:
            splits["train"] = splits["train"].concat([read_lspet(self.root / "lspet_dataset", relabel)])
        return {name: replace(people, boxes=people.boxes * [1, 1, self.box_scale]) for name, people in splits.items()}


def _read_joints(path: Path, shape: tuple[int, int]) -> Floats:
    table = np.asarray(read_mat(path, "joints"))
    if table.shape[:-1] != shape or table.dtype.kind not in "fiu":
        raise ValueError(f"joints in {path} has shape {table.shape}, not {(*shape, 'images')}; take the official file")
    return table.astype(np.float64)


def _find_photos(root: Path, pattern: str, count: int) -> Photos:
    photos = Photos([root / "images" / pattern.format(n) for n in range(1, count + 1)])
    if (more := root / "images" / pattern.format(count + 1)).exists():
        raise ValueError(
            f"{root / 'joints.mat'} describes {count} images, but there is {more}; they do not belong together"
        )
    return photos
