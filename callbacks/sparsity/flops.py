"""Multiply-adds: what a forward pass of a network costs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from .replica import replica


@torch.no_grad()
def multiply_adds(module: nn.Module, *inputs: Tensor) -> dict[str, int]:
    """The multiply-adds of convolutional and linear layers in one forward pass, by the name of their weight.

    The names are those of :func:`select`: a weight shared by several layers counts for all, under its first name.
    A layer that is called several times counts each time, one that is never called counts 0. Biases, norms,
    activations, interpolation and products without a layer (attention, ``F.linear``) are not counted. FLOPs are twice
    as many where a multiplication and an addition count as two, as in most papers on pose. The pass runs in
    evaluation mode on a copy. On ``device="meta"``, module and inputs, it costs nothing.

    Args:
        module: any; taken as dense, whatever its weights.
        inputs: what its forward takes; all their samples count.

    Example:
        >>> multiply_adds(nn.Conv2d(2, 4, 3, padding=1, groups=2), torch.zeros(1, 2, 8, 8))
        {'weight': 2304}
    """
    module = replica(module).eval()
    counts: dict[str, int] = {}
    first_names: dict[Tensor, str] = {}

    def count(name: str, layer: nn.Linear | _ConvNd, source: Tensor, output: Tensor) -> None:
        # a transposed convolution spreads each input entry, the others gather each output entry
        entries = source if isinstance(layer, _ConvTransposeNd) else output
        counts[name] += entries.numel() * layer.weight[0].numel()

    for name, layer in module.named_modules():
        if isinstance(layer, (nn.Linear, _ConvNd)):
            name = first_names.setdefault(layer.weight, f"{name}.weight".lstrip("."))
            counts[name] = 0
            layer.register_forward_hook(
                lambda layer, sources, output, name=name: count(name, layer, sources[0], output)
            )
    module(*inputs)
    return counts
