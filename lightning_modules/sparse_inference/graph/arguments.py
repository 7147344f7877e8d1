"""The arguments of a call of torch, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .trace import Call, Value

Shape = tuple[int, ...]


class NoKernelError(Exception):
    """The error of a call for which there is no kernel; it says why."""


class Arguments:
    """The arguments of a call.

    Args:
        call: the call.
        by_name: its arguments.
        shapes: the shapes of its inputs and outputs.
        parameters: the names of the network's parameters, by the address of their data.
    """

    def __init__(
        self, call: Call, by_name: dict[str, Any], shapes: dict[Value, Shape], parameters: Mapping[int, str]
    ) -> None:
        self.by_name, self.shapes, self.parameters = by_name, shapes, parameters
        self.outputs = call.outputs
        self.output = call.outputs[0]

    def __getitem__(self, name: str) -> Any:
        return self.by_name[name]

    def pair(self, name: str, default: tuple[int, int] | None = None) -> tuple[int, int]:
        """Return a vertical and a horizontal number, of which one may stand for both."""
        given = list(self[name]) or list(default or ())
        return (given * 2)[0], (given * 2)[1]

    def value(self, name: str) -> Value:
        """Return an argument that depends on the image."""
        if not isinstance(self[name], Value):
            raise NoKernelError(f"its {name} is constant")
        return self[name]  # type: ignore[no-any-return]

    def constant(self, name: str) -> Tensor:
        """Return a tensor that does not depend on the image, in float32."""
        if not isinstance(self[name], Tensor):
            raise NoKernelError(f"its {name} is not constant")
        return self[name].detach().float()  # type: ignore[no-any-return]

    def optional(self, name: str, size: int, default: float) -> Tensor:
        """Return a constant; ``size`` times the default if there is none."""
        if self[name] is not None:
            return self.constant(name)
        return torch.full((size,), default, dtype=torch.float32, device="cpu")

    def require(self, **values: Any) -> None:
        """Refuse the call unless the arguments have these values."""
        for name, value in values.items():
            if self[name] != value:
                raise NoKernelError(f"{name} is {self[name]}")

    def channels(self, constant: Any, shape: tuple[int, ...]) -> Tensor:
        """Return a constant operand that is the same for all pixels and images, as one number for each channel."""
        tensor = torch.as_tensor(constant, dtype=torch.float32, device="cpu").detach()
        ones = (1, shape[1], *[1] * (len(shape) - 2))
        try:
            return tensor.expand(ones).reshape(-1).clone()
        except RuntimeError:
            raise NoKernelError(f"a constant of shape {tuple(tensor.shape)}") from None
