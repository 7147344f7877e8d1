"""The size of a sparse network on disk."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def storage_bytes(module: nn.Module, active: Mapping[str, int]) -> float:
    """Return the bytes of the active weights and all other parameters, with a bit for each entry of a mask.

    Args:
        module: its parameters are counted, each in its own type, but no buffers.
        active: entries to store, by the name of the sparse weight.

    Reference:
        Evci et al. 2020 (RigL), whose tables count so.

    Example:
        >>> storage_bytes(nn.Linear(16, 10), {"weight": 20})
        140.0
    """
    total = 0.0
    for name, parameter in module.named_parameters():
        total += active.get(name, parameter.numel()) * parameter.element_size()
        total += parameter.numel() / 8 if name in active else 0
    return total
