"""What happens inside of a function, operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from callbacks import MaskOwner

T = TypeVar("T")


class Operations(TorchDispatchMode):
    """Keeps what a function makes and sends.

    Attributes:
        sent: the name of each collective that this process takes part in, and the bytes of its largest tensor.
        largest: the entries of the largest tensor that an operation makes.
        launches: operations that do something, as views do not; each is one or a few kernels on a GPU.
        waits: how often Python, or the size of a result, needs numbers that a GPU would have to finish first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, int]] = []
        self.largest = self.launches = self.waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace in ("c10d", "_c10d_functional"):
            self.sent.append((func._opname, max(leaf.nbytes for leaf in tensors(args))))
        self.waits += waits_for(func, args)
        made = func(*args, **(kwargs or {}))
        self.launches += not func.is_view and bool(tensors((args, made)))
        self.largest = max([self.largest, *(leaf.numel() for leaf in tensors(made))])
        return made

    def of(self, function: Callable[..., T]) -> Callable[..., T]:
        """The function, watched."""

        @wraps(function)
        def watched(*args: object) -> T:
            with self, Reads(self):
                return function(*args)

        return watched

    def watch_updates(self, owner: MaskOwner) -> None:
        """Watch what the owner of the masks does at updates, and to know whether one is due."""
        for part in owner.parts:
            part.new_masks = self.of(part.new_masks)
        owner.update_masks = self.of(owner.update_masks)


class Reads(TorchFunctionMode):
    """Counts what reads a whole tensor, which on a CPU is no operation, as waits of ``operations``."""

    def __init__(self, operations: Operations) -> None:
        super().__init__()
        self.operations = operations

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations.waits += func in (Tensor.tolist, Tensor.cpu, Tensor.numpy)
        return func(*args, **(kwargs or {}))


def waits_for(func: Any, args: Any) -> bool:
    """Whether a GPU must be done with the arguments before the operation can return."""
    if func._opname in ("index", "index_put_"):  # where a bool tensor is True
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    return torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]
