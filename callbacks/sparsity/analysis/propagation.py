"""Signal propagation: what is left of a signal when it has passed a sparse network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ..masks.masks import Masks
from ..masks.randomness import generator_for
from ..masks.replica import replica
from ..masks.sparse_weight import SparseWeight
from ..rules.top_k import top_k


@dataclass(frozen=True)
class Signal:
    """The standard deviations of what a network makes of standard normal inputs.

    Args:
        output: the standard deviation of the network's output, over all its entries; sigma(f(x)) in the paper.
        layers: that of the output of each linear or convolutional layer, before the activation, by name: the
            standard deviation of each unit over samples and positions, averaged over units.
    """

    output: float
    layers: dict[str, float]


@torch.no_grad()
def signal_propagation(network: nn.Module, shape: Sequence[int], *, samples: int = 500, seed: int = 0) -> Signal:
    """Feed N(0, 1) inputs through a copy of the network, in the mode it is in.

    Args:
        network: takes (samples, *shape) and returns one tensor, the logits.
        shape: the shape of one input, without the batch dimension.
        samples: inputs, at least 2.
        seed: the seed of the inputs.

    Raises:
        ValueError: ``samples`` is below 2, or a layer's output is not finite.

    Reference:
        Evci et al. 2022, figure of signal propagation at initialization, with 500 samples; sigma near 0 means that the
        output, and with it the gradient, no longer depends on the input.

    Example:
        >>> signal = signal_propagation(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), (1, 8, 8))
        >>> list(signal.layers), 0.3 < signal.output < 1.0
        (['1'], True)
    """
    if samples < 2:
        raise ValueError(f"samples is {samples}; a standard deviation takes 2 or more")
    network = replica(network)
    layers: dict[str, float] = {}

    def note(name: str, dim: int, output: Tensor) -> None:
        layers[name] = _finite(output.transpose(0, dim).flatten(1).float().std(1).mean(), name)

    for name, layer in network.named_modules():
        if isinstance(layer, (nn.Linear, _ConvNd)):
            dim = -1 if isinstance(layer, nn.Linear) else 1
            layer.register_forward_hook(lambda _layer, _inputs, output, name=name, dim=dim: note(name, dim, output))
    first = next(network.parameters())
    inputs = torch.randn(samples, *shape, generator=generator_for(seed, samples)).to(first)
    with torch.random.fork_rng(devices=[]):  # which dropout would draw from
        output = network(inputs)
    return Signal(_finite(output.float().std(), "the output"), layers)


def _finite(value: Tensor, where: str) -> float:
    if not bool(value.isfinite()):
        raise ValueError(f"the signal is not finite at {where!r}: the weights are not, or far too large")
    return float(value)


def heterogeneous_masks(weights: Mapping[str, SparseWeight], counts: Mapping[str, int], *, seed: int) -> Masks:
    """Draw masks in which the first output units of each layer lose most of their inputs.

    Each weight into output unit c = 1, 2, ... draws a score from U(0, c); the lowest are pruned. With masks
    that are uniform instead, a layer's factor (:class:`LayerScaled`) does as well as one for each unit.

    Args:
        weights: the weights by name, as :func:`select` returns them.
        counts: active weights of each.
        seed: the seed of the scores.

    Reference:
        Evci et al. 2022, released notebook on signal propagation.

    Example:
        >>> layer = SparseWeight(nn.Parameter(torch.zeros(2, 50)))
        >>> heterogeneous_masks({"fc": layer}, {"fc": 50}, seed=0)["fc"].sum(1)
        tensor([19, 31])
    """
    masks = {}
    for index, (name, weight) in enumerate(weights.items()):
        score = torch.rand(weight.parameter.shape, generator=generator_for(seed, 0, index))
        by_unit = weight.by_unit(score)  # a view, so that the product below changes score in place
        by_unit *= torch.arange(1.0, by_unit.shape[0] * by_unit.shape[1] + 1).view(*by_unit.shape[:2], 1, 1)
        mask = top_k(score, counts[name], torch.ones_like(score, dtype=torch.bool))
        masks[name] = mask.to(weight.parameter.device)
    return Masks(masks)
