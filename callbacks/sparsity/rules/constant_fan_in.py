"""Constant fan-in: every neuron of a layer that is not ablated has the same number of inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .top_k import top_k
from .updates import count_per_row, drop_and_grow_per_row


def fan_in_of(budget: int, neurons: int, inputs: int) -> int:
    """Return the connections of each neuron when ``neurons`` share ``budget``: rounded down, at most ``inputs``.

    Example:
        >>> fan_in_of(budget=100, neurons=8, inputs=30), fan_in_of(budget=100, neurons=3, inputs=30)
        (12, 30)
    """
    return min(budget // neurons, inputs)


def salient_neurons(
    mask: Tensor, drop_score: Tensor, grow_score: Tensor, n: int, *, budget: int, gamma: float
) -> Tensor:
    """Return a bool vector of the neurons that are worth keeping; the others are ablated.

    A connection is salient when it is among the active ones that stay if the ``n`` worst are dropped, or among the
    ``n`` best to grow of all. A neuron stays with at least max(1, floor(gamma * fan-in)) salient connections. The
    fan-in is that of a layer with all its neurons, floor(budget / neurons), whatever it is by now: ablation raises
    the fan-in of the neurons that stay, and a threshold that rose with it would ablate more at every update.

    As many neurons as are needed to hold the budget stay in any case, those with the most salient connections.

    Args:
        mask: bool, (neurons, inputs), True = active; all active neurons have the same fan-in.
        drop_score: the lowest of active connections are dropped.
        grow_score: the highest are grown.
        n: connections to exchange.
        budget: connections that all neurons share.
        gamma: share of the fan-in with all neurons, in [0, 1].
    """
    neurons, inputs = mask.shape
    everything = torch.ones_like(mask)
    salient = top_k(drop_score, int(mask.count_nonzero()) - n, mask) | top_k(grow_score, n, everything)
    counts = count_per_row(salient)
    stay = counts >= max(1, math.floor(gamma * fan_in_of(budget, neurons, inputs)))
    least = max(1, budget // inputs)
    if int(stay.count_nonzero()) < least:
        stay = top_k(counts, least, torch.ones_like(stay))
    return stay


def exchange_at_constant_fan_in(
    mask: Tensor, drop_score: Tensor, grow_score: Tensor, n: int, *, budget: int, gamma: float | None
) -> Tensor:
    """Return the mask of a layer after an update: each neuron has as many inputs as every other, or none.

    Args:
        mask: bool, (neurons, inputs), True = active.
        drop_score: the ``n`` active connections with the lowest scores are dropped.
        grow_score: each neuron grows its connections with the highest scores.
        n: connections to exchange.
        budget: connections that all neurons share; what does not divide stays unused.
        gamma: as in :func:`salient_neurons`; None ablates no neuron.

    Reference:
        Lasby et al. 2024 (SRigL), section 3, and their released code.

    Example:
        >>> mask = torch.tensor([[True, True, False, False], [True, True, False, False]])
        >>> weight, grad = torch.tensor([[9.0, 8.0, 0.0, 0.0], [2.0, 1.0, 0.0, 0.0]]), torch.arange(8.0).view(2, 4)
        >>> exchange_at_constant_fan_in(mask, weight, grad, 1, budget=4, gamma=None).int()
        tensor([[1, 1, 0, 0],
                [1, 0, 0, 1]], dtype=torch.int32)
        >>> exchange_at_constant_fan_in(mask, weight, grad.flip(0), 2, budget=4, gamma=1.0).int()
        tensor([[1, 1, 1, 1],
                [0, 0, 0, 0]], dtype=torch.int32)
    """
    neurons, inputs = mask.shape
    if gamma is None:
        stay = torch.ones(neurons, dtype=torch.bool, device=mask.device)
    else:
        stay = salient_neurons(mask, drop_score, grow_score, n, budget=budget, gamma=gamma)
    fan_in = fan_in_of(budget, int(stay.count_nonzero()), inputs)
    return drop_and_grow_per_row(mask, drop_score, grow_score, n, fan_in * stay)
