"""Averages of gradients over optimizer steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


class GradientAverages:
    """The averages of gradients by name: plain means, or exponential ones that forget.

    They are kept in single precision at least, so that a long mean of bfloat16 gradients loses nothing.

    Args:
        momentum: None for the plain mean of all since :meth:`clear`. Otherwise, in [0, 1), the share of the old
            average in the new one, ``momentum * average + (1 - momentum) * gradient``, which starts from 0.

    Raises:
        ValueError: ``momentum`` is outside [0, 1).

    Example:
        >>> averages = GradientAverages()
        >>> averages.add({"w": torch.tensor([1.0, 4.0])})
        >>> averages.add({"w": torch.tensor([3.0, 4.0])})
        >>> averages.values["w"]
        tensor([2., 4.])
    """

    def __init__(self, momentum: float | None = None) -> None:
        if momentum is not None and not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}; it is a share of the past in [0, 1)")
        self.momentum = momentum
        self.values: dict[str, Tensor] = {}
        self._added: dict[str, int] = {}  # how often something was added, by name

    @torch.no_grad()
    def add(self, gradients: Mapping[str, Tensor]) -> None:
        """Take in the gradients of one step, which stay as they are."""
        for name, gradient in gradients.items():
            if name not in self.values:
                dtype = torch.promote_types(gradient.dtype, torch.float32)
                self.values[name] = torch.zeros_like(gradient, dtype=dtype)
            self._added[name] = self._added.get(name, 0) + 1
            rate = 1 / self._added[name] if self.momentum is None else 1 - self.momentum
            average = self.values[name]
            average.lerp_(gradient.to(average.dtype), rate)

    def clear(self, names: Iterable[str]) -> None:
        """Forget what was added under these names."""
        for name in names:
            self.values.pop(name, None)
            self._added.pop(name, None)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and tensors on the CPU, safe for ``torch.load(weights_only=True)``."""
        return {"values": {name: value.cpu() for name, value in self.values.items()}, "added": dict(self._added)}

    def load_state_dict(self, state: Mapping[str, Any], devices: Mapping[str, torch.device]) -> None:
        """Take over what :meth:`state_dict` gave, each value on ``devices[name]``."""
        self.values = {name: value.to(devices[name], copy=True) for name, value in state["values"].items()}
        self._added = dict(state["added"])
