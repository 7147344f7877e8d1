"""People: annotated persons of one data set, whatever files they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Dataset, Subset

from ..files.photos import Photo
from .crop import Bools, Floats
from .skeletons import Skeleton


@dataclass(frozen=True, eq=False)
class People:
    """N persons with labelled joints; lengths and positions in 0-based px of their images.

    Attributes:
        skeleton: the K joints.
        images: item n is the image of person n, RGB (H, W, 3).
        names: what errors call a person: its file, and its place there.
        joints: (N, K, 2), 0 where not visible.
        visible: (N, K), whether the joint is labelled; an occluded one may be.
        sizes: (N,), the length errors are measured in: torso for LSP, head for MPII.
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
        """Checks every person, and clears what unlabelled joints hold."""
        n, k = len(self.names), len(self.skeleton.joints)
        shapes = {"joints": (n, k, 2), "visible": (n, k), "sizes": (n,), "boxes": (n, 3)}
        for field, shape in shapes.items():
            if (found := getattr(self, field).shape) != shape:
                raise ValueError(f"{field} of {n} people with {self.skeleton.name} joints is {found}, not {shape}")
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
        """Returns the number of people."""
        return len(self.names)

    def take(self, rows: NDArray[np.int64]) -> People:
        """Returns the people of some rows, in their order."""
        return replace(
            self,
            images=Subset(self.images, rows.tolist()),
            names=[self.names[row] for row in rows],
            joints=self.joints[rows],
            visible=self.visible[rows],
            sizes=self.sizes[rows],
            boxes=self.boxes[rows],
        )

    def hold_out(self, count: int, seed: int) -> tuple[People, People]:
        """Returns all people but `count`, and these, chosen by `seed` alone; both keep their order.

        Raises:
            ValueError: nobody would be left.
        """
        if not 0 <= count < len(self):
            raise ValueError(f"val_size is {count}, but there are {len(self)} people to train on; pass a smaller one")
        order = np.random.default_rng(seed).permutation(len(self))
        return self.take(np.sort(order[count:])), self.take(np.sort(order[:count]))

    def having(self, skeleton: Skeleton) -> People:
        """Returns the people with another skeleton's joints, without those who have none of them labelled.

        Joints that are unknown here become unlabelled.
        """
        if skeleton == self.skeleton:
            return self
        places = skeleton.places_in(self.skeleton)
        known = np.array([place is not None for place in places])
        taken = [place or 0 for place in places]
        people = self.take(np.flatnonzero((self.visible[:, taken] & known).any(1)))
        return replace(
            people, skeleton=skeleton, joints=people.joints[:, taken], visible=people.visible[:, taken] & known
        )

    def and_(self, others: Sequence[People]) -> People:
        """Returns these people followed by others, all with this skeleton."""
        if not others:
            return self
        groups = [self, *(other.having(self.skeleton) for other in others)]
        return replace(
            self,
            images=cast("Dataset[Photo]", ConcatDataset([group.images for group in groups])),
            names=[name for group in groups for name in group.names],
            joints=np.concatenate([group.joints for group in groups]),
            visible=np.concatenate([group.visible for group in groups]),
            sizes=np.concatenate([group.sizes for group in groups]),
            boxes=np.concatenate([group.boxes for group in groups]),
        )
