"""The measurements that pictures show: numbers of every layer, and samples of weights and gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from callbacks.sparsity import gradient_flow

SAMPLES = 2**18  # the greatest number of values of all layers together


def layer_flow(gradients: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the norm of the active gradient of every layer; biases and norms are left out."""
    weights = {name: gradient for name, gradient in gradients.items() if gradient.dim() > 1}
    return {name: flow.active for name, flow in gradient_flow(weights, masks).items() if name}


def layer_churn(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the share of every layer's active weights that were not active before."""
    if not after:
        return {}
    shares = [(mask & ~before[name]).sum().cpu() / mask.sum().clamp(min=1).cpu() for name, mask in after.items()]
    return dict(zip(after, torch.stack(shares).tolist(), strict=True))


def split(tensors: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return values at active and at inactive entries, on the CPU, of layers with masks, or of all if none has one.

    Of large networks every n-th entry is taken, so that each layer keeps its share.
    """
    chosen = {name: t for name, t in tensors.items() if (name in masks if masks else t.dim() > 1)}
    stride = -(-sum(tensor.numel() for tensor in chosen.values()) // SAMPLES) or 1
    active, inactive = [torch.empty(0)], [torch.empty(0)]
    for name, tensor in chosen.items():
        values = tensor.detach().flatten()[::stride].float().cpu()
        mask = masks[name].flatten()[::stride].cpu() if name in masks else torch.ones_like(values, dtype=torch.bool)
        active.append(values[mask])
        inactive.append(values[~mask])
    return torch.cat(active), torch.cat(inactive)
