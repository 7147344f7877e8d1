"""What happens inside of a function, operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

T = TypeVar("T")


class Operations(TorchDispatchMode):
    """Keeps what a function makes and sends.

    Attributes:
        sent: the name of each collective that this process takes part in, and the bytes of its largest tensor.
        largest: the entries of the largest tensor that an operation makes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, int]] = []
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace in ("c10d", "_c10d_functional"):
            self.sent.append((func._opname, max(leaf.nbytes for leaf in tensors(args))))
        made = func(*args, **(kwargs or {}))
        self.largest = max([self.largest, *(leaf.numel() for leaf in tensors(made))])
        return made

    def of(self, function: Callable[..., T]) -> Callable[..., T]:
        """The function, watched."""

        @wraps(function)
        def watched(*args: object) -> T:
            with self:
                return function(*args)

        return watched


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]
