"""AdamW that corrects the bias of its moments entry by entry: each weight counts its own steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class EntrywiseAdamW(Optimizer):
    """AdamW as of torch, whose counter of steps is a tensor of the parameter's shape.

    A mask update clears it with the moments, since it has the weight's shape, so that a weight that grows takes the
    first steps of a new parameter.

    Args:
        parameters: what is trained.
        lr: the learning rate.
        weight_decay: as in torch.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 1e-2) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group["lr"], group["weight_decay"])
        return loss

    def _move(self, parameter: Tensor, grad: Tensor, lr: float, weight_decay: float) -> None:
        state = self.state[parameter]
        if not state:
            state.update({name: torch.zeros_like(parameter) for name in ("steps", "exp_avg", "exp_avg_sq")})
        steps = state["steps"].add_(1)
        first = state["exp_avg"].lerp_(grad, 0.1) / (1 - 0.9**steps)
        second = state["exp_avg_sq"].mul_(0.999).addcmul_(grad, grad, value=0.001) / (1 - 0.999**steps)
        parameter.mul_(1 - lr * weight_decay).addcdiv_(first, second.sqrt_().add_(1e-8), value=-lr)
