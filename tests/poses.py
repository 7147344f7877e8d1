"""Made-up poses: predictions near and far, some on the other side, some joints not annotated."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_modules.pose.protocols import PoseProtocol

Poses = tuple[Tensor, Tensor, Tensor, Tensor]


def random_poses(protocol: PoseProtocol, people: int, seed: int = 0) -> Poses:
    """pred, target, visible, size in float64, with garbage in the target where a joint is not visible."""
    generator = torch.Generator().manual_seed(seed)
    joints = len(protocol.joints)
    target = 100 * torch.rand(people, joints, 2, generator=generator, dtype=torch.float64)
    noise = torch.randn(people, joints, 2, generator=generator, dtype=torch.float64)
    aim = torch.where((torch.rand(people, joints, 1, generator=generator) < 0.2), target[:, protocol.mirror], target)
    visible = torch.rand(people, joints, generator=generator) < 0.8
    visible[0] = True
    size = 20 + 40 * torch.rand(people, generator=generator, dtype=torch.float64)
    garbage = torch.tensor([torch.nan, torch.inf, -1.0, 0.0], dtype=torch.float64)
    spoilt = garbage[torch.randint(4, target.shape, generator=generator)]
    return aim + 10 * noise, torch.where(visible[..., None], target, spoilt), visible, size
