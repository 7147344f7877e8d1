"""People: annotated persons of one data set, whatever files they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Dataset, Subset

from ..files.photos import Photo
from .crop import Bools, Floats
from .skeletons import Skeleton

ARRAYS = ("joints", "visible", "sizes", "boxes")
"""The attributes of `People` with one row for each person."""


@dataclass(frozen=True, eq=False)
class People:
    """N persons with labelled joints; lengths and positions in 0-based px of their images.

    Attributes:
        skeleton: the K joints.
        images: the image of each person, RGB (H, W, 3).
        names: what errors call each person: the file, and where in it the person is.
        joints: (N, K, 2), 0 where not visible.
        visible: (N, K), whether the joint is labelled; an occluded one may be.
        sizes: (N,), the length in which errors are measured: the torso for LSP, the head for MPII.
        boxes: (N, 3), the square to crop: centre x, centre y, side.

    Raises:
        ValueError: the shapes disagree; or a person has no labelled joint, a labelled joint, size or box that
            is not finite, or a size or side that is not positive.
    """

    skeleton: Skeleton
    images: Dataset[Photo]
    names: Sequence[str]
    joints: Floats
    visible: Bools
    sizes: Floats
    boxes: Floats

    def __post_init__(self) -> None:
        """Check every person, and clear what unlabelled joints hold."""
        n, k = len(self.names), len(self.skeleton.joints)
        for field, shape in zip(ARRAYS, ((n, k, 2), (n, k), (n,), (n, 3)), strict=True):
            own = getattr(self, field).shape
            if own != shape:
                raise ValueError(f"{field} of {n} people with {self.skeleton.name} joints is {own}, not {shape}")
        bad = {
            "has no labelled joint": ~self.visible.any(1),
            "has a labelled joint that is not finite": (self.visible & ~np.isfinite(self.joints).all(2)).any(1),
            "has no positive size": ~(np.isfinite(self.sizes) & (self.sizes > 0)),
            "has no box with a positive side": ~(np.isfinite(self.boxes).all(1) & (self.boxes[:, 2] > 0)),
        }
        for problem, rows in bad.items():
            if rows.any():
                raise ValueError(f"{self.names[int(rows.argmax())]} {problem}; mend the annotation or leave it out")
        object.__setattr__(self, "joints", np.where(self.visible[..., None], self.joints, 0.0))

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: NDArray[np.int64]) -> People:
        """Return the people of some rows, in their order."""
        arrays: dict[str, Any] = {name: getattr(self, name)[rows] for name in ARRAYS}
        names = [self.names[row] for row in rows]
        return replace(self, images=Subset(self.images, rows.tolist()), names=names, **arrays)

    def with_skeleton(self, skeleton: Skeleton) -> People:
        """Return the people with another skeleton's joints, without those who have none of them labelled.

        Joints that are unknown here become unlabelled.
        """
        if skeleton == self.skeleton:
            return self
        numbers = skeleton.places_in(self.skeleton)
        known = np.array([number is not None for number in numbers])
        columns = [number or 0 for number in numbers]
        people = self.take(np.flatnonzero((self.visible[:, columns] & known).any(1)))
        return replace(
            people, skeleton=skeleton, joints=people.joints[:, columns], visible=people.visible[:, columns] & known
        )

    def concat(self, others: Sequence[People]) -> People:
        """Return these people followed by others, all with this skeleton."""
        if not others:
            return self
        groups = [self, *(other.with_skeleton(self.skeleton) for other in others)]
        images = cast("Dataset[Photo]", ConcatDataset([group.images for group in groups]))
        names = [name for group in groups for name in group.names]
        arrays: dict[str, Any] = {name: np.concatenate([getattr(group, name) for group in groups]) for name in ARRAYS}
        return replace(self, images=images, names=names, **arrays)
