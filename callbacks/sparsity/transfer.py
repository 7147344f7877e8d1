"""What is read of tensors on a GPU: all at once, since each look waits for the GPU and lets it run dry."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

import torch
from torch import Tensor


def fetch(numbers: Iterable[Tensor]) -> list[Any]:
    """Tensors of one number each as Python's numbers, in one transfer, whatever devices they are on.

    Example:
        >>> fetch([torch.tensor(3), torch.tensor([True, False]).count_nonzero()])
        [3, 1]
    """
    numbers = list(numbers)
    return torch.stack([number.to(numbers[0].device) for number in numbers]).tolist() if numbers else []


def norms_of(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """The L2 norm of each tensor in single precision at least; a few launches for all that are of one dtype."""
    tensors = list(tensors)
    dtype = reduce(torch.promote_types, {tensor.dtype for tensor in tensors}, torch.float32)
    return torch._foreach_norm(tensors, 2, dtype) if tensors else ()
