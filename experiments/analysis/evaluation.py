"""Evaluation of a network at points of weight space: loss, accuracy, and the norm statistics that they take."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .solutions import Weights, norms_of

# batches of (input, label): a DataLoader, or a list, since they are read again at every point
Batches = Iterable[Sequence[Tensor]]
# (output, label) -> the mean loss of a batch; the losses of callbacks.sparsity are given the network
OutputLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LossProfile:
    """The losses at points of a path between two solutions.

    Args:
        alphas: positions on the path; 0 is the start and 1 the end.
        losses: mean losses over the samples, one a position.
        accuracies: fractions of samples whose largest output is their label, one a position; None if the labels are
            not class indices.
    """

    alphas: tuple[float, ...]
    losses: tuple[float, ...]
    accuracies: tuple[float, ...] | None


def loss_along(
    path: Callable[[float], Weights], module: nn.Module, batches: Batches, alphas: Sequence[float], loss: OutputLoss
) -> LossProfile:
    """Evaluate a copy of ``module`` with the weights ``path(alpha)`` and running statistics estimated anew.

    Raises:
        ValueError: there is no position or no data; a position or a loss is not a number.
        TypeError: ``batches`` can be read only once, or does not hold (input, label) pairs.
    """
    if not alphas or not all(map(math.isfinite, alphas)):
        raise ValueError(f"alphas is {tuple(alphas)}; give one finite position or more")
    network = copy.deepcopy(module).requires_grad_(False).eval()
    scores = []
    for alpha in alphas:
        load(network, path(alpha))
        re_estimate_norms(network, batches)
        scores.append(evaluate(network, batches, loss))
        if math.isnan(scores[-1][0]):
            raise ValueError(f"the loss at position {alpha} is nan: batches hold NaN, or the network overflows there")
    accuracies = tuple(accuracy for _, accuracy in scores if accuracy is not None)
    return LossProfile(tuple(map(float, alphas)), tuple(value for value, _ in scores), accuracies or None)


@torch.no_grad()
def load(network: nn.Module, weights: Weights) -> None:
    """Overwrite the parameters of ``network``, in place."""
    for name, parameter in network.named_parameters():
        parameter.copy_(weights[name])


@torch.no_grad()
def evaluate(network: nn.Module, batches: Batches, loss: OutputLoss = F.cross_entropy) -> tuple[float, float | None]:
    """Return mean loss and accuracy of a network, in the mode (training or evaluation) in which it is.

    Args:
        network: maps an input to outputs (B, C, ...).
        batches: (input, label) pairs; they are moved to the device of the network.
        loss: maps outputs and labels to the mean loss of a batch.

    Returns:
        The loss and the accuracy, as means over all samples; the accuracy is None if the labels are not class indices
        (B, ...).

    Raises:
        ValueError: ``batches`` is empty.
        TypeError: ``batches`` can be read only once, or does not hold (input, label) pairs.

    Example:
        >>> evaluate(nn.Identity(), [(torch.eye(2), torch.tensor([0, 0]))], lambda output, label: output.mean())
        (0.5, 0.5)
    """
    total, correct, seen, scored = 0.0, 0.0, 0, True
    for inputs, label in checked_batches(batches, network):
        output = network(inputs)
        total += float(loss(output, label)) * len(label)
        seen += len(label)
        scored = scored and output.dim() > 1 and output[:, 0].shape == label.shape and not label.is_floating_point()
        if scored:
            correct += float((output.argmax(1) == label).double().mean()) * len(label)
    return total / seen, correct / seen if scored else None


@torch.no_grad()
def re_estimate_norms(network: nn.Module, batches: Batches) -> None:
    """Replace the running statistics of batch norms by those of ``batches``, in place, in one pass.

    Every batch counts by its size. All other layers are in evaluation mode, as is the whole network afterwards.
    Variances are those within a batch, as in training: use batches as large as in training or larger.

    Raises:
        ValueError: ``batches`` is empty.
        TypeError: ``batches`` can be read only once, or does not hold (input, label) pairs.

    Example:
        >>> norm = nn.BatchNorm1d(1)
        >>> re_estimate_norms(norm, [(torch.tensor([[1.0], [3.0]]), torch.zeros(2))])
        >>> norm.running_mean, norm.running_var
        (tensor([2.]), tensor([2.]))
    """
    network.eval()
    norms = list(norms_of(network).values())
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    seen = 0
    for inputs, _ in checked_batches(batches, network):
        seen += len(inputs)
        for norm in norms:
            norm.momentum = len(inputs) / seen
        network(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def checked_batches(batches: Batches, network: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches that hold samples, each checked and on the device of the network."""
    if isinstance(batches, Iterator):
        raise TypeError(
            f"batches is a {type(batches).__name__}, which can be read only once: give a DataLoader or list(batches)"
        )
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    empty = True
    for batch in batches:
        if not isinstance(batch, Sequence) or len(batch) != 2 or not all(isinstance(part, Tensor) for part in batch):
            raise TypeError(f"batches holds a {type(batch).__name__}; every batch is a pair of tensors (input, label)")
        if len(batch[1]):
            empty = False
            yield batch[0].to(device), batch[1].to(device)
    if empty:
        raise ValueError("batches is empty: there is no data to evaluate on")
