"""Learning-rate schedules of image classification, in optimizer steps: a linear warm-up, then steps or a cosine."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class WarmUpSteps(LambdaLR):
    """A schedule that rises linearly from 0 to the optimizer's rate, which each milestone multiplies by a factor.

    Args:
        optimizer: its learning rates are the highest ones of the schedule.
        milestones: optimizer steps, in ascending order.
        warm_up: steps until the highest rate; 0 for no warm-up.
        factor: what a milestone multiplies the rate by, in (0, 1].

    Raises:
        ValueError: the milestones do not ascend or begin within the warm-up; ``warm_up`` or ``factor`` is out of range.

    Reference:
        Goyal et al. 2017; RigL's ResNet-50: batch 4096, 32,000 steps, warm-up to epoch 5, a tenth at epochs 30, 70, 90.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        >>> schedule = WarmUpSteps(optimizer, milestones=[4, 6], warm_up=2)
        >>> [round(schedule.factor_at(step), 2) for step in range(7)]
        [0.0, 0.5, 1.0, 1.0, 0.1, 0.1, 0.01]
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], *, warm_up: int = 0, factor: float = 0.1
    ) -> None:
        _check_warm_up(warm_up)
        if list(milestones) != sorted(set(milestones)) or (milestones and milestones[0] < max(warm_up, 1)):
            raise ValueError(
                f"milestones is {list(milestones)}; they ascend and come after the warm-up of {warm_up} steps"
            )
        if not 0 < factor <= 1:
            raise ValueError(f"factor is {factor}; it is in (0, 1]")
        self.milestones, self.warm_up, self.factor = list(milestones), warm_up, factor
        super().__init__(optimizer, self.factor_at)

    def factor_at(self, step: int) -> float:
        """Return the share of the highest rate after ``step`` steps."""
        return _warm_up_share(step, self.warm_up) * self.factor ** sum(
            step >= milestone for milestone in self.milestones
        )


class WarmUpCosine(LambdaLR):
    """A schedule that rises linearly from 0 to the optimizer's rate, then falls back to 0 along half a cosine.

    Args:
        optimizer: its learning rates are the highest ones of the schedule.
        total_steps: steps of the whole run.
        warm_up: steps until the highest rate; 0 for no warm-up.

    Raises:
        ValueError: ``warm_up`` is out of range, or not below ``total_steps``.

    Reference:
        Loshchilov and Hutter 2017 (SGDR), without restarts.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        >>> schedule = WarmUpCosine(optimizer, total_steps=6, warm_up=2)
        >>> [round(schedule.factor_at(step), 2) for step in range(7)]
        [0.0, 0.5, 1.0, 0.85, 0.5, 0.15, 0.0]
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, *, warm_up: int = 0) -> None:
        _check_warm_up(warm_up)
        if total_steps <= warm_up:
            raise ValueError(f"total_steps is {total_steps}; the run is longer than its warm-up of {warm_up} steps")
        self.total_steps, self.warm_up = total_steps, warm_up
        super().__init__(optimizer, self.factor_at)

    def factor_at(self, step: int) -> float:
        """Return the share of the highest rate after ``step`` steps; 0 after the end."""
        done = (step - self.warm_up) / (self.total_steps - self.warm_up)
        return _warm_up_share(step, self.warm_up) * (1 + math.cos(math.pi * min(max(done, 0.0), 1.0))) / 2


def _check_warm_up(warm_up: int) -> None:
    if warm_up < 0:
        raise ValueError(f"warm_up is {warm_up}; it is a number of steps, 0 or more")


def _warm_up_share(step: int, warm_up: int) -> float:
    return min(step / warm_up, 1.0) if warm_up else 1.0
