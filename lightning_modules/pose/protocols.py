"""Pose protocols: which joints a benchmark scores, and the size that its errors are measured in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_COLUMNS = {"Sho": "shoulder", "Elb": "elbow", "Wri": "wrist", "Hip": "hip", "Kne": "knee", "Ank": "ankle"}
_PARTS = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))


@dataclass(frozen=True)
class PoseProtocol:
    """The rules by which a benchmark scores poses; joints are numbered as in ``joints``.

    Args:
        name: name of the benchmark.
        measure: ``pck`` if sizes are torsos, ``pckh`` if they are heads.
        joints: names of all joints that a prediction holds, in order.
        left_out: joints that no mean counts.
        threshold: threshold of the main score, in sizes.
        finer: thresholds of further scores.
        auc_limit: largest threshold of the area under the curve.
        heads: columns for the head, and the joints that each column is the mean of.

    Example:
        >>> LSP.columns["Sho"], LSP.parts[0], len(MPII.scored)
        ((8, 9), (12, 13), 14)
        >>> [MPII.joints[joint] for joint in MPII.mirror[:2]]
        ['left_ankle', 'left_knee']
    """

    name: str
    measure: str
    joints: tuple[str, ...]
    left_out: tuple[str, ...]
    threshold: float
    finer: tuple[float, ...]
    auc_limit: float
    heads: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def scored(self) -> tuple[int, ...]:
        """Return the joints that means count."""
        return tuple(joint for joint, name in enumerate(self.joints) if name not in self.left_out)

    @property
    def columns(self) -> dict[str, tuple[int, ...]]:
        """Return the joints of every column of a result table; a column is the plain mean of its joints."""
        pairs = {column: (f"right_{joint}", f"left_{joint}") for column, joint in _COLUMNS.items()}
        return {column: self._numbers(*names) for column, names in (*self.heads, *pairs.items())}

    @property
    def mirror(self) -> tuple[int, ...]:
        """Return for each joint the one on the other side of the body; joints of the middle are their own."""
        other = {"left": "right", "right": "left"}
        sides = (name.partition("_") for name in self.joints)
        return self._numbers(*(other.get(side, side) + line + joint for side, line, joint in sides))

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """Return the two ends of the nine parts: head, upper arms, forearms, thighs and shanks.

        The torso of PCP tables is left out, since it ends at points that are the means of two joints.
        """
        limbs = ((f"{side}_{start}", f"{side}_{end}") for side in ("right", "left") for start, end in _PARTS)
        ends = (self._numbers(*names) for names in (("neck", "head_top"), *limbs))
        return tuple((start, end) for start, end in ends)

    def _numbers(self, *names: str) -> tuple[int, ...]:
        return tuple(map(self.joints.index, names))


_LEGS = ("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle")
_ARMS = ("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist")

LSP = PoseProtocol(
    name="LSP",
    measure="pck",
    joints=(*_LEGS, *_ARMS, "neck", "head_top"),
    left_out=(),
    threshold=0.2,
    finer=(0.1,),
    auc_limit=0.2,
    heads=(("Head", ("neck", "head_top")),),
)

# HRNet, mmpose and pytorch-pose print the head top alone as Head, the official script the mean with the upper neck
MPII = PoseProtocol(
    name="MPII",
    measure="pckh",
    joints=(*_LEGS, "pelvis", "thorax", "neck", "head_top", *_ARMS),
    left_out=("pelvis", "thorax"),
    threshold=0.5,
    finer=(0.1, 0.11),
    auc_limit=0.5,
    heads=(("Head", ("head_top",)), ("Head+neck", ("neck", "head_top"))),
)


def check_mirror(mirror: Sequence[int], joints: int) -> None:
    """Refuse a ``mirror`` that does not exchange pairs of joints.

    Raises:
        ValueError: it is not one number a joint, or a number does not lead back to where it came from.
    """
    if len(mirror) != joints or any(not 0 <= k < joints or mirror[k] != joint for joint, k in enumerate(mirror)):
        raise ValueError(
            f"mirror is {list(mirror)}; it exchanges pairs of the {joints} joints: each joint names the one that names "
            "it in turn, or itself"
        )


def torso_size(joints: Tensor) -> Tensor:
    """Return the size of PCK, the distance (N,) between left shoulder and right hip of LSP joints (N, 14, 2).

    Raises:
        ValueError: ``joints`` is not (N, 14, 2).

    Reference:
        Published LSP rows use this diagonal; the other one, right shoulder to left hip, gives other scores.
    """
    if joints.dim() != 3 or joints.shape[1:] != (14, 2):
        raise ValueError(f"joints is {tuple(joints.shape)}; the torso is that of LSP joints, (people, 14, 2)")
    shoulder, hip = LSP.joints.index("left_shoulder"), LSP.joints.index("right_hip")
    size: Tensor = torch.linalg.vector_norm(joints[:, shoulder] - joints[:, hip], dim=1)
    return size


def head_size(box: Tensor) -> Tensor:
    """Return the size of PCKh, 0.6 times the diagonal (N,) of head boxes (N, 2, 2).

    A box is given by two opposite corners (x, y).

    Raises:
        ValueError: ``box`` is not (N, 2, 2).

    Example:
        >>> head_size(torch.tensor([[[10.0, 10.0], [13.0, 14.0]]]))
        tensor([3.])
    """
    if box.dim() != 3 or box.shape[1:] != (2, 2):
        raise ValueError(f"box is {tuple(box.shape)}; it holds two corners (x, y) a person, (people, 2, 2)")
    diagonal: Tensor = torch.linalg.vector_norm(box[:, 1] - box[:, 0], dim=1)
    return 0.6 * diagonal
