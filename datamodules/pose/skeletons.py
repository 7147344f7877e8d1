"""Skeletons: the joints of a pose, how they are connected, and which ones change places in a mirror."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Edge = tuple[int, int]


@dataclass(frozen=True)
class Skeleton:
    """The joints of a pose, in the order of every joints array.

    Attributes:
        name: what the skeleton is called.
        joints: joint names; joints of two skeletons that have the same name are taken to be the same.
        edges: the kinematic tree, (parent, child), from the root outward.
        root: where the tree begins.
        mirror: joint k of a mirrored person is joint `mirror[k]` of the person.
        loops: further edges, which close loops.

    Raises:
        ValueError: the edges are no tree that grows from the root, an index is out of range, or `mirror`
            is no exchange of pairs.

    Example:
        >>> [LSP_SKELETON.joints[k] for k in LSP_SKELETON.mirror[:2]]
        ['left_ankle', 'left_knee']
    """

    name: str
    joints: tuple[str, ...]
    edges: tuple[Edge, ...]
    root: int
    mirror: tuple[int, ...]
    loops: tuple[Edge, ...] = ()

    def __post_init__(self) -> None:
        """Check the tree, the loops and the mirror."""
        count = len(self.joints)
        if len(set(self.joints)) != count:
            raise ValueError(f"joints of {self.name} are {self.joints}; each name occurs once")
        reached = {self.root}
        for parent, child in self.edges:
            if parent not in reached or child in reached:
                raise ValueError(f"edge {(parent, child)} of {self.name} does not extend the tree from {self.root}")
            reached.add(child)
        if reached != set(range(count)):
            raise ValueError(f"the tree of {self.name} reaches {sorted(reached)}, not all of its {count} joints")
        if any(not 0 <= a < count or not 0 <= b < count or a == b for a, b in self.loops):
            raise ValueError(f"loops of {self.name} are {self.loops}; they connect joints 0 to {count - 1}")
        if sorted(self.mirror) != list(range(count)) or any(self.mirror[m] != k for k, m in enumerate(self.mirror)):
            raise ValueError(f"mirror of {self.name} is {self.mirror}; it exchanges pairs of joints")

    @property
    def legs(self) -> tuple[int, ...]:
        """The joints of the lower half of the body."""
        return tuple(k for k, name in enumerate(self.joints) if name.endswith(("ankle", "knee", "hip", "pelvis")))

    def places_in(self, other: Skeleton) -> tuple[int | None, ...]:
        """Return for each joint its number in another skeleton, or None where that lacks it.

        Example:
            >>> MPII_SKELETON.places_in(LSP_SKELETON)
            (0, 1, 2, 3, 4, 5, None, None, 12, 13, 6, 7, 8, 9, 10, 11)
        """
        return tuple(other.joints.index(name) if name in other.joints else None for name in self.joints)


_LEGS = ("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle")
_ARMS = ("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist")

LSP_SKELETON = Skeleton(
    "LSP",
    joints=(*_LEGS, *_ARMS, "neck", "head_top"),
    edges=(
        *((12, 8), (12, 9), (12, 13), (12, 2), (12, 3), (8, 7), (9, 10)),
        *((2, 1), (3, 4), (7, 6), (10, 11), (1, 0), (4, 5)),
    ),
    root=12,
    mirror=(5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13),
    loops=((2, 3), (8, 9), (2, 8), (3, 9)),
)

MPII_SKELETON = Skeleton(
    "MPII",
    joints=(*_LEGS, "pelvis", "thorax", "neck", "head_top", *_ARMS),
    edges=(
        *((6, 2), (6, 3), (6, 7), (2, 1), (3, 4), (7, 8), (7, 12), (7, 13)),
        *((1, 0), (4, 5), (8, 9), (12, 11), (13, 14), (11, 10), (14, 15)),
    ),
    root=6,
    mirror=(5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10),
    loops=((2, 3), (12, 13), (2, 12), (3, 13)),
)


def torso_sizes(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance (N,) between left shoulder and right hip of LSP's joints (N, 14, 2)."""
    shoulder, hip = LSP_SKELETON.joints.index("left_shoulder"), LSP_SKELETON.joints.index("right_hip")
    sizes: NDArray[np.float64] = np.linalg.norm(joints[:, shoulder] - joints[:, hip], axis=1)
    return sizes
