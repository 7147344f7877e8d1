"""Kinematic updates, in which joints refine their features one after another along the skeleton."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Direction = Literal["inward", "outward", "together"]


@dataclass(frozen=True)
class Kinematics:
    """The graph of a skeleton: which joints are connected, and in which order they are updated.

    Args:
        num_joints: number of joints K; they are numbered from 0.
        edges: pairs of connected joints. They may form a tree or have loops.
        root: the joint that the order starts from.
        passes: rounds of updates. ``outward`` follows the order, ``inward`` goes through it backwards, ``together``
            updates all joints at once from what they were before. Without passes there are no updates.
        order: all joints, each once. None is breadth-first from the root, with the lowest number first among equals.
        tied: whether all passes share their weights. Each pass keeps normalization statistics and alphas of its own.
        alpha: initial value of the factors of the updates. At 0 the network starts as one without updates, and the
            weights of the updates have gradients of 0 until the factors move: pruning by gradients before training
            (SNIP, GraSP) takes 0.1.

    Raises:
        ValueError: a joint does not exist, an edge is listed twice or has only one end, the order is not a permutation,
            there is no order and no edge leads to a joint, or a pass is unknown.

    Example:
        >>> Kinematics(4, edges=[(0, 1), (1, 2), (1, 3)], root=0).levels()
        [[0], [1], [2, 3]]
    """

    num_joints: int
    edges: Sequence[tuple[int, int]]
    root: int
    passes: Sequence[Direction] = ("inward", "outward")
    order: Sequence[int] | None = None
    tied: bool = False
    alpha: float = 0.0

    def __post_init__(self) -> None:
        if self.num_joints < 1:
            raise ValueError(f"num_joints is {self.num_joints}; a skeleton has 1 or more")
        joints = range(self.num_joints)
        for edge in self.edges:
            if len(edge) != 2 or edge[0] == edge[1] or not set(edge) <= set(joints):
                raise ValueError(f"edges has {tuple(edge)}; an edge connects two of the joints 0 to {len(joints) - 1}")
        if len({frozenset(edge) for edge in self.edges}) < len(self.edges):
            raise ValueError(
                f"edges {[tuple(edge) for edge in self.edges]} list a pair of joints twice; once is enough"
            )
        if self.root not in joints:
            raise ValueError(f"root is {self.root}; it is one of the joints 0 to {len(joints) - 1}")
        if self.order is not None and sorted(self.order) != list(joints):
            raise ValueError(f"order is {list(self.order)}; it has each of the joints 0 to {len(joints) - 1} once")
        if cut_off := set(joints) - set(self.sequence()):
            raise ValueError(
                f"edges lead from root {self.root} to all joints but {sorted(cut_off)}; add edges or an order"
            )
        if unknown := set(self.passes) - {"inward", "outward", "together"}:
            raise ValueError(f"passes has {sorted(unknown)}; a pass is inward, outward or together")

    def neighbours(self, joint: int) -> list[int]:
        """Return the joints connected to a joint, in ascending order."""
        return sorted(a + b - joint for a, b in self.edges if joint in (a, b))

    def sequence(self) -> list[int]:
        """Return the joints in the order of an outward pass."""
        if self.order is not None:
            return list(self.order)
        joints = [self.root]
        for joint in joints:  # the list grows while it is read
            joints += [other for other in self.neighbours(joint) if other not in joints]
        return joints

    def levels(self) -> list[list[int]]:
        """Return the joints level by level; those of a level can be updated at once, as if one by one.

        A joint comes one level after the last of the neighbours that precede it in the order, so that neighbours
        never share a level. Read backwards, the levels do the same for the order read backwards.
        """
        level: dict[int, int] = {}
        for joint in self.sequence():
            level[joint] = 1 + max((level[other] for other in self.neighbours(joint) if other in level), default=-1)
        return [[joint for joint in level if level[joint] == depth] for depth in range(max(level.values()) + 1)]


class KinematicUpdates(nn.Module):
    """A layer in which a small network for each joint changes its features, given them and those of its neighbours.

    f[k] += alpha[pass, k] * conv(relu(norm(conv(f[k] and its neighbours, ascending)))), with 3x3 kernels. The change is
    made in place, so that a joint sees what its neighbours have become. Input and output are (B, K * channels, h, w),
    joint after joint.

    Joints of one level (:meth:`Kinematics.levels`) with equally many neighbours run as one grouped convolution;
    :meth:`one_by_one` is the definition, with the same weights.

    Args:
        kinematics: graph, order and passes.
        channels: number of channels of each joint.
        hidden: number of channels between the two convolutions of an update.

    Reference:
        Isack et al. 2020 and US patent 11,335,023 B2, claims 2 to 5: sets of features, updated one at a time in a fixed
        order from those of their neighbours. Kernel sizes, the residual form, alpha and the default order are ours.
    """

    def __init__(self, kinematics: Kinematics, channels: int, hidden: int) -> None:
        super().__init__()
        self.kinematics = kinematics
        groups = []
        for level in kinematics.levels():
            reads = [[joint, *kinematics.neighbours(joint)] for joint in level]
            groups += [
                [read for read in reads if len(read) == count] for count in sorted({len(read) for read in reads})
            ]
        self.passes = nn.ModuleList(
            nn.ModuleList(JointUpdates(group, channels, hidden) for group in groups) for _ in kinematics.passes
        )
        if kinematics.tied:
            for other in self.passes[1:]:
                _tie(other, self.passes[0])
        self.alpha = nn.ParameterList(  # vectors, which have no weight decay and are never sparse
            nn.Parameter(torch.full((kinematics.num_joints,), float(kinematics.alpha))) for _ in kinematics.passes
        )

    def alphas(self) -> dict[str, Tensor]:
        """Return the factor of every update, named ``<number of the pass>_<direction>/<joint>``."""
        return {
            f"{number}_{direction}/{joint}": factor
            for number, (direction, alpha) in enumerate(zip(self.kinematics.passes, self.alpha, strict=True))
            for joint, factor in enumerate(alpha.detach())
        }

    def forward(self, features: Tensor) -> Tensor:
        if not len(self.passes):
            return features
        joints = list(features.chunk(self.kinematics.num_joints, dim=1))
        for updates, alpha, direction in self._rounds():
            seen = list(joints) if direction == "together" else joints
            for update in updates:
                change = update(torch.cat([seen[k] for reads in update.reads for k in reads], dim=1))
                factors = torch.cat([alpha[reads[0]].expand(update.channels) for reads in update.reads])
                change = change * factors.to(change.dtype)[:, None, None]
                for (k, *_), part in zip(update.reads, change.chunk(len(update.reads), dim=1), strict=True):
                    joints[k] = joints[k] + part
        return torch.cat(joints, dim=1)

    def one_by_one(self, features: Tensor) -> Tensor:
        """Return what :meth:`forward` returns, computed by the definition, a joint at a time; for tests."""
        joints = list(features.chunk(self.kinematics.num_joints, dim=1))
        for updates, alpha, direction in self._rounds():
            seen = list(joints) if direction == "together" else joints
            group_of = {reads[0]: (update, index) for update in updates for index, reads in enumerate(update.reads)}
            order = self.kinematics.sequence()
            for k in reversed(order) if direction == "inward" else order:
                update, index = group_of[k]
                x = torch.cat([seen[m] for m in (k, *self.kinematics.neighbours(k))], dim=1)
                joints[k] = joints[k] + alpha[k] * update.update_one(index, x)
        return torch.cat(joints, dim=1)

    def _rounds(self) -> Iterator[tuple[list[JointUpdates], Tensor, Direction]]:
        """Yield the updates of every pass, in their order, with their factors and the direction of the pass."""
        for groups, alpha, direction in zip(self.passes, self.alpha, self.kinematics.passes, strict=True):
            updates = [group for group in groups.children() if isinstance(group, JointUpdates)]
            yield updates[::-1] if direction == "inward" else updates, alpha, direction


class JointUpdates(nn.Module):
    """The updates of joints that do not see one another and have equally many neighbours, as one grouped convolution.

    Args:
        reads: for each joint its own number and those of its neighbours.
        channels: number of channels of each joint.
        hidden: number of channels between the two convolutions, for each joint.
    """

    def __init__(self, reads: Sequence[Sequence[int]], channels: int, hidden: int) -> None:
        super().__init__()
        self.reads = reads
        self.channels = channels
        count, seen = len(reads), sum(map(len, reads))
        self.conv1 = nn.Conv2d(seen * channels, count * hidden, 3, padding=1, groups=count, bias=False)
        self.norm = nn.BatchNorm2d(count * hidden)
        self.conv2 = nn.Conv2d(count * hidden, count * channels, 3, padding=1, groups=count)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.conv2(F.relu(self.norm(self.conv1(x))))
        return change

    def update_one(self, index: int, x: Tensor) -> Tensor:
        """Return the update of joint ``reads[index]``, computed with its part of the weights and statistics."""
        conv1, norm, conv2 = self.conv1, self.norm, self.conv2

        def part(tensor: Tensor | None) -> Tensor:
            assert tensor is not None
            return tensor.chunk(len(self.reads))[index]

        x = F.conv2d(x, part(conv1.weight), padding=1)
        statistics = part(norm.running_mean), part(norm.running_var)
        x = F.batch_norm(x, *statistics, part(norm.weight), part(norm.bias), norm.training, eps=norm.eps)
        return F.conv2d(F.relu(x), part(conv2.weight), part(conv2.bias), padding=1)


def _tie(module: nn.Module, source: nn.Module) -> None:
    """Give a module the parameters of another of the same structure."""
    for layer, other in zip(module.modules(), source.modules(), strict=True):
        for name, parameter in other.named_parameters(recurse=False):
            setattr(layer, name, parameter)
