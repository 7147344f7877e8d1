"""What a network takes on disk."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def storage_bytes(module: nn.Module, active: Mapping[str, int]) -> float:
    """Bytes of the active weights and of all other parameters, and a bit an entry for every mask.

    Args:
        module: whose parameters, each in its own type; buffers are not counted.
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
