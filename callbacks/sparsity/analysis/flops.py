"""Multiply-adds and FLOPs: what a forward pass of a network costs, dense and sparse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ..masks.replica import replica


def multiply_adds(module: nn.Module, *inputs: Tensor) -> dict[str, int]:
    """Return the multiply-adds of convolutional and linear layers in one forward pass, by the name of their weight.

    The names are those of :func:`select`: a weight shared by several layers counts for all of them under its first
    name. A layer that is called several times counts each time, one that is never called counts 0. Biases, norms,
    activations, interpolation and products without a layer (attention, ``F.linear``) are not counted. FLOPs are twice
    as many where a multiplication and an addition count as two, as in most papers on pose. The pass runs in
    evaluation mode on a copy. On ``device="meta"``, module and inputs, it costs nothing.

    Args:
        module: any; taken as dense, whatever its weights.
        inputs: the arguments of its forward; all their samples count.

    Example:
        >>> multiply_adds(nn.Conv2d(2, 4, 3, padding=1, groups=2), torch.zeros(1, 2, 8, 8))
        {'weight': 2304}
    """
    return {name: products for name, (products, _) in _count(module, *inputs).items()}


@dataclass(frozen=True)
class Flops:
    """The floating-point operations of forward passes, by the accounting of RigL's tables.

    A multiplication and an addition count as one each, and every output of a convolution as one more, for its bias or
    norm and its activation. Sparse, a layer's products shrink with its density, its outputs stay.

    Args:
        products: multiply-adds of a sample, by the name of the weight.
        outputs: outputs of convolutions for a sample, by the name of the weight.

    Reference:
        Evci et al. 2020 (RigL), appendix on FLOPs, and the counter of its released code.

    Example:
        >>> flops = Flops.of(nn.Conv2d(1, 6, 5), torch.zeros(1, 1, 28, 28))
        >>> flops.dense, flops.sparse({"weight": 0.5})
        (176256.0, 89856.0)
    """

    products: Mapping[str, float]
    outputs: Mapping[str, float]

    @classmethod
    def of(cls, module: nn.Module, *inputs: Tensor) -> Flops:
        """Count one forward pass, as :func:`multiply_adds` does; give inputs of a single sample."""
        counts = _count(module, *inputs)
        return cls({name: c[0] for name, c in counts.items()}, {name: c[1] for name, c in counts.items()})

    @property
    def dense(self) -> float:
        """The floating-point operations of the dense network."""
        return self.sparse({})

    def sparse(self, density: Mapping[str, float]) -> float:
        """Return the operations of a network with a share of each weight active; a weight without a share is dense."""
        return float(
            sum(2 * count * density.get(name, 1.0) + self.outputs[name] for name, count in self.products.items())
        )


@contextmanager
def counting(module: nn.Module) -> Iterator[dict[str, tuple[int, int]]]:
    """Count what a module computes inside: multiply-adds and outputs of convolutions, by the name of the weight.

    Hooks count, which ``torch.compile`` would not run: what is compiled runs eagerly inside.
    """
    counts: dict[str, tuple[int, int]] = {}
    first_names: dict[Tensor, str] = {}

    def count(name: str, layer: nn.Linear | _ConvNd, source: Tensor, output: Tensor) -> None:
        # a transposed convolution spreads each input entry, the others gather each output entry
        entries = source if isinstance(layer, _ConvTransposeNd) else output
        products, outputs = counts[name]
        made = 0 if isinstance(layer, nn.Linear) else output.numel()
        counts[name] = products + entries.numel() * layer.weight[0].numel(), outputs + made

    handles = []
    for name, layer in module.named_modules():
        if isinstance(layer, (nn.Linear, _ConvNd)):
            name = first_names.setdefault(layer.weight, f"{name}.weight".lstrip("."))
            counts[name] = 0, 0
            handles.append(
                layer.register_forward_hook(
                    lambda layer, sources, output, name=name: count(name, layer, sources[0], output)
                )
            )
    try:
        with torch.compiler.set_stance("force_eager"):
            yield counts
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _count(module: nn.Module, *inputs: Tensor) -> dict[str, tuple[int, int]]:
    module = replica(module).eval()
    with counting(module) as counts:
        module(*inputs)
    return counts
