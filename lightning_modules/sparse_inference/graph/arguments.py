"""What a call of torch was given, by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .trace import Call, Value


class NoKernelError(Exception):
    """There is no kernel for a call; says why."""


class Arguments:
    """A call's arguments by their names."""

    def __init__(self, call: Call, by_name: dict[str, Any], shapes: dict[Value, tuple[int, ...]], names: Any) -> None:
        self.by_name, self.shapes, self.names = by_name, shapes, names
        self.outputs = call.outputs
        self.output = call.outputs[0]

    def __getitem__(self, name: str) -> Any:
        return self.by_name[name]

    def pair(self, name: str, default: tuple[int, int] | None = None) -> tuple[int, int]:
        given = list(self[name]) or list(default or ())
        return (given * 2)[0], (given * 2)[1]

    def value(self, name: str) -> Value:
        if not isinstance(self[name], Value):
            raise NoKernelError(f"its {name} is constant")
        return self[name]  # type: ignore[no-any-return]

    def constant(self, name: str) -> Tensor:
        if not isinstance(self[name], Tensor):
            raise NoKernelError(f"its {name} is not constant")
        return self[name].detach().float()  # type: ignore[no-any-return]

    def optional(self, name: str, size: int, default: float) -> Tensor:
        if self[name] is not None:
            return self.constant(name)
        return torch.full((size,), default, dtype=torch.float32, device="cpu")

    def refuse(self, **unless: Any) -> None:
        for name, value in unless.items():
            if self[name] != value:
                raise NoKernelError(f"{name} is {self[name]}")

    def channels(self, constant: Any, shape: tuple[int, ...]) -> Tensor:
        """A constant operand that is the same for all pixels and images, as a number a channel."""
        tensor = torch.as_tensor(constant, dtype=torch.float32, device="cpu").detach()
        ones = (1, shape[1], *[1] * (len(shape) - 2))
        try:
            return tensor.expand(ones).reshape(-1).clone()
        except RuntimeError:
            raise NoKernelError(f"a constant of shape {tuple(tensor.shape)}") from None
