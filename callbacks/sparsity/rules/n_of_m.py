"""N:M sparsity: of every m consecutive inputs of a neuron, n are active."""

from __future__ import annotations

import torch
from torch import Tensor

from .updates import top_per_row


def n_of_m(score: Tensor, n: int, m: int) -> Tensor:
    """Return a bool mask of the ``n`` highest scores of every ``m`` consecutive inputs; ties go to the first.

    Args:
        score: has the shape of a linear or convolutional weight, (out, in, *kernel). A group is m input features, or
            m input channels at one kernel tap where m divides them; otherwise it goes on at the next tap. That is
            the order in which 2:4 kernels read.
        n: entries to keep of each group, in [0, m].
        m: entries of a group; it divides the inputs of a neuron.

    Raises:
        ValueError: ``n`` or ``m`` is neither.

    Example:
        >>> weight = torch.tensor([[4.0, -1.0, 2.0, 3.0, 0.0, 0.0, -7.0, 1.0]])
        >>> n_of_m(weight.abs(), 2, 4).int()
        tensor([[1, 0, 0, 1, 0, 0, 1, 1]], dtype=torch.int32)
    """
    last = score.movedim(1, -1)
    inputs = last[0].numel()
    if not 0 <= n <= m or m < 1 or inputs % m:
        raise ValueError(f"n:m is {n}:{m}, but a neuron has {inputs} inputs: n lies in [0, m] and m divides the inputs")
    groups = last.reshape(-1, m)
    k = torch.full_like(groups[:, 0], n, dtype=torch.int32)
    chosen = top_per_row(groups, k, torch.ones_like(groups, dtype=torch.bool))
    return chosen.view(last.shape).movedim(-1, 1).contiguous()
