"""Folding of layers: norms into weights, ReLU and sums into the layers that make their inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from .layers import Affine, Convolution, Layer
from .trace import Value


def fold(layers: Iterable[Layer], results: Iterable[Value]) -> list[Layer]:
    """Return the same computation in fewer layers.

    Args:
        layers: the layers in an order in which they can run.
        results: the values that are wanted at the end.
    """
    layers = list(layers)
    used = Counter(value for layer in layers for value in layer.inputs)
    used.update(results)
    folded: dict[Value, Layer] = {}
    for layer in layers:
        merged = _merged(layer, folded, used) if isinstance(layer, Affine) else None
        if merged is not None:
            layer, replaced = merged
            del folded[replaced]
        folded[layer.output] = layer
    return list(folded.values())


def _merged(layer: Affine, folded: dict[Value, Layer], used: Counter[Value]) -> tuple[Layer, Value] | None:
    """Return a layer and the one before it as one, and the value that is no longer made; None if that cannot be.

    It can be if no other layer reads what the layer before makes.
    """
    if layer.other is not None:
        return _with_residual(layer, folded, used)
    before = folded.get(layer.source)
    if before is None or used[layer.source] > 1 or not isinstance(before, (Convolution, Affine)) or before.relu:
        return None
    if layer.scale is None and layer.shift is None:
        return replace(before, output=layer.output, relu=layer.relu), layer.source
    if isinstance(before, Affine) or before.residual is not None:
        return None
    weight, bias = before.weight, before.bias
    if layer.scale is not None:
        weight, bias = weight * layer.scale.view(-1, 1, 1, 1), bias * layer.scale
    if layer.shift is not None:
        bias = bias + layer.shift
    return replace(before, output=layer.output, weight=weight, bias=bias, relu=layer.relu), layer.source


def _with_residual(layer: Affine, folded: dict[Value, Layer], used: Counter[Value]) -> tuple[Layer, Value] | None:
    """Return the later of two convolutions that are added, with the other's output as its residual."""
    order = {value: number for number, value in enumerate(folded)}

    values = sorted((layer.source, layer.other), key=lambda value: order.get(value, -1))  # type: ignore[arg-type]
    for value, other in (values[::-1], values):
        before = folded.get(value)  # type: ignore[arg-type]
        if isinstance(before, Convolution) and used[before.output] == 1 and not before.relu and before.residual is None:
            return replace(before, output=layer.output, residual=other), before.output
    return None
