"""What optimizers remember of a weight, and how they forget it entry by entry."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Adagrad, Optimizer, Rprop

from .zeros import zero_inactive


@torch.no_grad()
def clear_state(optimizer: Optimizer, weight: Tensor, kept: Tensor) -> None:
    """Give the optimizer's state of ``weight`` the values of a new parameter where ``kept`` is False.

    Every state tensor of the weight's shape is touched (momentum, both moments of Adam and their maxima). A new
    parameter's values are 0, but for the sums of Adagrad and the step sizes of Rprop. States of 8 bits that name the
    value of each code, as those of bitsandbytes and torchao do, get the code of 0. Step counters and other scalars
    stay, so that weights that grow begin with larger steps than their neighbours; what a counter for each weight
    would change is measured in experiments/results/optimizers.md.

    Args:
        optimizer: any; one that does not hold the weight is left alone.
        weight: the parameter.
        kept: bool, of the weight's shape; True = the state stays.

    Raises:
        TypeError: a state is coded in a way that is not known here.
    """
    state = optimizer.state.get(weight, {})
    for key, value in state.items():
        if not isinstance(value, Tensor) or value.shape != weight.shape:
            continue
        if type(value) in (Tensor, nn.Parameter, DTensor) and value.is_floating_point():
            if fresh := _fresh_value(optimizer, weight, key):
                value.masked_fill_(~kept, fresh)
            else:
                zero_inactive(value, kept)
        elif value.dtype == torch.uint8 and isinstance(codes := state.get(key.replace("state", "qmap")), Tensor):
            value.masked_fill_(~kept, int(codes.abs().argmin()))  # bitsandbytes
        elif isinstance(codes := getattr(value, "qmap", None), Tensor) and len(codes) == 2**8:
            stored: Tensor = value.codes  # type: ignore[attr-defined]  # torchao
            stored.view(value.shape).masked_fill_(~kept, int(codes.abs().argmin()))
        else:
            raise TypeError(
                f"{type(optimizer).__name__} keeps its state {key!r} as {type(value).__name__} of {value.dtype}, of "
                "which it is not known how 0 is written: the state of dropped and grown weights could not be cleared. "
                "Use an optimizer whose state is floating-point, or of 8 bits from bitsandbytes or torchao"
            )


def _fresh_value(optimizer: Optimizer, weight: Tensor, key: str) -> float:
    """Return what an optimizer gives a new parameter as this state."""
    argument = {(Adagrad, "sum"): "initial_accumulator_value", (Rprop, "step_size"): "lr"}
    for (kind, name), value in argument.items():
        if isinstance(optimizer, kind) and key == name:
            return float(_group_of(optimizer, weight)[value])
    return 0.0


def _group_of(optimizer: Optimizer, weight: Tensor) -> dict[str, Any]:
    return next(group for group in optimizer.param_groups if any(weight is held for held in group["params"]))
