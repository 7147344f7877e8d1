"""Criteria: which weights of a network to keep when it is pruned in one go, before or after training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

BatchLoss = Callable[[Any, Any], Tensor]  # (network, batch) -> loss


class Criterion(ABC):
    """A rating of all weights of a network at once, comparable between layers; the highest are kept."""

    uses_data: ClassVar[bool] = True  # whether it looks at batches of training data

    @property
    def rounds(self) -> int:
        """The number of rounds in which to prune, each of which rates what the one before has left."""
        return 1

    @abstractmethod
    def __call__(
        self, network: nn.Module, weights: Mapping[str, nn.Parameter], loss: BatchLoss | None, batches: Sequence[Any]
    ) -> dict[str, Tensor]:
        """Return scores of each weight's shape.

        Args:
            network: a copy of the caller's own, which may be changed; what was pruned already is 0.
            weights: the network's sparse weights.
            loss: ``(network, batch) -> loss``, a mean over the batch.
            batches: batches of training data, the same on all ranks.
        """


@dataclass(frozen=True)
class OneShotMagnitude(Criterion):
    """The criterion |w|, magnitude."""

    uses_data: ClassVar[bool] = False

    def __call__(
        self, network: nn.Module, weights: Mapping[str, nn.Parameter], loss: BatchLoss | None, batches: Sequence[Any]
    ) -> dict[str, Tensor]:
        return {name: weight.detach().abs() for name, weight in weights.items()}


@dataclass(frozen=True)
class SNIP(Criterion):
    """The criterion |w * dL/dw|, connection sensitivity: how much the loss depends on the weight being there at all.

    The gradient is the mean over the batches. |dL/dw| alone is not offered: it does worse than random masks
    (Evci et al. 2020, list of mended bugs).

    Reference:
        Lee et al. 2019, equation 6. Their normalization to a sum of 1 changes no order and is left out.
    """

    def __call__(
        self, network: nn.Module, weights: Mapping[str, nn.Parameter], loss: BatchLoss | None, batches: Sequence[Any]
    ) -> dict[str, Tensor]:
        gradients = _mean_gradients(network, weights, _needed(self, loss, batches), batches)
        return {name: gradients[name].mul_(weight.detach()).abs_() for name, weight in weights.items()}


@dataclass(frozen=True)
class GraSP(Criterion):
    """The criterion w * (H g): keep the weights whose removal would lower the gradient flow g'g the most.

    Removing w changes g'g by -2 w (H g) to first order, so high scores are kept, and negative ones, whose
    removal lets more gradient through, go first. g is the mean gradient over the batches and H its
    Hessian, both of the sparse weights alone.

    Reference:
        Wang et al. 2020, equation 8 and algorithm 1; the sign is that of their code, which removes the highest
        -w (H g). Differences: the loss is the training loss as it is, without their temperature of 200 on the logits;
        batches need not hold each class equally often.
    """

    def __call__(
        self, network: nn.Module, weights: Mapping[str, nn.Parameter], loss: BatchLoss | None, batches: Sequence[Any]
    ) -> dict[str, Tensor]:
        loss = _needed(self, loss, batches)
        means = _mean_gradients(network, weights, loss, batches)
        scores: dict[str, Tensor] = {}
        for batch in batches:
            products = _hessian_times(means, loss(network, batch), weights)
            for name, weight in weights.items():
                change = (weight.detach() * products.pop(name)).div_(len(batches))
                scores[name] = scores[name].add_(change) if name in scores else change
        return scores


@dataclass(frozen=True)
class SynFlow(Criterion):
    """The criterion w * dR/dw, synaptic flow, where R is the sum of outputs for an input of ones, all numbers absolute.

    Looks at no data but the shape of one sample. Pruned in many rounds, whose density falls exponentially, it empties
    no layer before it has to. All parameters and running statistics are made absolute, biases and norms
    included, and the network is in eval mode and double precision; with ReLUs it is linear then.

    Args:
        iterations: rounds of pruning.
        forward: ``(network, inputs) -> outputs`` for a network that is not called as ``network(inputs)``. The
            inputs are ones, of the shape of the first sample of a batch, or of its first entry.

    Raises:
        ValueError: ``iterations`` is below 1.

    Reference:
        Tanaka et al. 2020, algorithm 1 and released code.
    """

    iterations: int = 100
    forward: Callable[[nn.Module, Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"SynFlow.iterations is {self.iterations}; it counts rounds of pruning, 1 or more")

    @property
    def rounds(self) -> int:
        return self.iterations

    def __call__(
        self, network: nn.Module, weights: Mapping[str, nn.Parameter], loss: BatchLoss | None, batches: Sequence[Any]
    ) -> dict[str, Tensor]:
        if not batches:
            raise ValueError("SynFlow needs a batch, for the shape of a sample: give batches=[inputs]")
        network.double().eval()
        with torch.no_grad():
            for tensor in [*network.parameters(), *network.buffers()]:
                if tensor.is_floating_point():
                    tensor.abs_()
        weight = next(iter(weights.values()))
        ones = torch.ones_like(_inputs(batches[0])[:1], dtype=weight.dtype, device=weight.device)
        try:
            outputs = (self.forward or (lambda network, inputs: network(inputs)))(network, ones)
        except NotImplementedError as error:
            raise ValueError(
                f"SynFlow calls the network, and {type(network).__name__} has no forward: give it one, or "
                "SynFlow(forward=lambda network, inputs: ...)"
            ) from error
        gradients = _gradients(outputs.sum(), weights)
        return {name: weight.detach() * gradients.pop(name) for name, weight in weights.items()}


def _inputs(batch: Any) -> Tensor:
    """Return the first tensor of real numbers in a batch."""
    entries = batch.values() if isinstance(batch, Mapping) else [batch] if isinstance(batch, Tensor) else batch
    for entry in entries:
        if isinstance(entry, Tensor) and entry.is_floating_point():
            return entry
    raise ValueError(f"SynFlow found no tensor of floats in a batch ({type(batch).__name__}): give batches=[inputs]")


def _needed(criterion: Criterion, loss: BatchLoss | None, batches: Sequence[Any]) -> BatchLoss:
    if loss is None or not batches:
        raise ValueError(f"{criterion} needs the gradient of a loss: give loss and at least one batch")
    return loss


def _mean_gradients(
    network: nn.Module, weights: Mapping[str, nn.Parameter], loss: BatchLoss, batches: Sequence[Any]
) -> dict[str, Tensor]:
    """Return the gradient of the mean loss over the batches."""
    means: dict[str, Tensor] = {}
    for batch in batches:
        gradients = _gradients(loss(network, batch), weights)
        for name in weights:
            share = gradients.pop(name) / len(batches)
            means[name] = means[name].add_(share) if name in means else share
    return means


def _hessian_times(
    vector: Mapping[str, Tensor], value: Tensor, weights: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """Return the products of the Hessian of a number with a vector, 0 for weights it does not depend on."""
    gradients = _gradients(value, weights, create_graph=True)
    curved = {name: grad for name, grad in gradients.items() if grad.requires_grad}
    if not curved:
        return {name: torch.zeros_like(weight) for name, weight in weights.items()}
    products = torch.autograd.grad(
        list(curved.values()), list(weights.values()), [vector[name] for name in curved], allow_unused=True
    )
    return _or_zeros(products, weights)


def _gradients(value: Tensor, weights: Mapping[str, nn.Parameter], *, create_graph: bool = False) -> dict[str, Tensor]:
    """Return the gradients of a number, 0 for weights it does not depend on."""
    if not value.requires_grad:
        return {name: torch.zeros_like(weight) for name, weight in weights.items()}
    gradients = torch.autograd.grad(value, list(weights.values()), create_graph=create_graph, allow_unused=True)
    return _or_zeros(gradients, weights)


def _or_zeros(found: Sequence[Tensor | None], weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Return what was found for each weight by its name, 0 where that is nothing."""
    return {
        name: torch.zeros_like(weight) if tensor is None else tensor
        for (name, weight), tensor in zip(weights.items(), found, strict=True)
    }
