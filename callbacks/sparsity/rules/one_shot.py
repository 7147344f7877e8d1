"""Pruning in one go: from a network and a budget to masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..masks.masks import Masks, check_not_empty
from ..masks.replica import replica
from ..masks.selection import select
from ..masks.zeros import all_finite
from .criteria import BatchLoss, Criterion, OneShotMagnitude
from .distributions import Distribution, Uniform
from .top_k import top_k
from .updates import prune_globally

Scope = Literal["layer", "global"]


def prune(
    module: nn.Module,
    sparsity: float,
    *,
    criterion: Criterion = OneShotMagnitude(),
    scope: Scope = "layer",
    distribution: Distribution = Uniform(),
    include: str | Sequence[str] = "*",
    exclude: str | Sequence[str] = (),
    masks: Mapping[str, Tensor] | None = None,
    loss: BatchLoss | None = None,
    batches: Sequence[Any] = (),
) -> Masks:
    """Prune a network, trained or not: set the weights that matter least to 0 and return the masks.

    A sparse fit goes on from there with ``SparseTraining(masks_from=masks, initialization=KeepValues())``.

    Args:
        module: changed in place, and not otherwise than by zeros.
        sparsity: fraction of zeros over all selected weights, in [0, 1).
        criterion: which weights to keep.
        scope: ``"layer"`` keeps in each layer what ``distribution`` gives it; ``"global"`` keeps the best of all
            layers, as many as ``distribution`` gives in sum.
        distribution: how the sparsity differs from layer to layer.
        include: patterns of the weights to prune; see :func:`select`.
        exclude: patterns of weights to leave dense.
        masks: the masks of an earlier pruning, which stay in force.
        loss: ``(module, batch) -> loss``, for criteria that use gradients.
        batches: data for the criterion.

    Raises:
        ValueError: as :func:`select` and :class:`Distribution`; a layer would be left without a weight; there are
            fewer active weights than are to be kept; ``masks`` is empty; the criterion lacks data, or its scores are
            not finite.

    Example:
        >>> network = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> prune(network, 0.75).counts, int(network[0].weight.count_nonzero())
        ({'0.weight': 8, '2.weight': 2}, 8)
    """
    weights = {name: weight.parameter for name, weight in select(module, include, exclude).items()}
    counts = distribution({name: weight.shape for name, weight in weights.items()}, sparsity)
    chosen = choose_masks(module, counts, criterion, scope=scope, masks=masks, loss=loss, batches=batches)
    chosen.apply_to_weights(weights)
    return chosen


def choose_masks(
    network: nn.Module,
    counts: Mapping[str, int],
    criterion: Criterion,
    *,
    scope: Scope = "layer",
    masks: Mapping[str, Tensor] | None = None,
    loss: BatchLoss | None = None,
    batches: Sequence[Any] = (),
    disposable: bool = False,
) -> Masks:
    """Return the masks that a criterion chooses; the network stays as it is.

    Args:
        network: looked at through a copy.
        counts: active weights of each parameter, or, with ``scope="global"``, in sum.
        criterion: as in :func:`prune`, like the other arguments.
        scope: ``"layer"`` or ``"global"``.
        masks: the masks of an earlier pruning.
        loss: ``(network, batch) -> loss``.
        batches: data for the criterion.
        disposable: the network is a copy that nobody needs any more: it is looked at itself, and changed.

    Raises:
        ValueError: as :func:`prune`.
    """
    check_scope(scope)
    network = network if disposable else replica(network)
    weights = {name: parameter for name, parameter in network.named_parameters() if name in counts}
    for weight in weights.values():
        weight.requires_grad_()
    left = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    check_not_empty(masks)
    if masks is not None:
        left = {name: mask.to(left[name].device) for name, mask in Masks(left).replace(masks).items()}
    before = {name: int(mask.count_nonzero()) for name, mask in left.items()}
    for name, count in counts.items():
        if scope == "layer" and count > before[name]:
            raise ValueError(f"{name!r} has {before[name]} active weights, fewer than the {count} to keep: prune more")
    for i in range(1, criterion.rounds + 1):
        Masks(left).apply_to_weights(weights)
        with torch.enable_grad():
            scores = {name: score.detach() for name, score in criterion(network, weights, loss, batches).items()}
        _check_scores(scores, criterion)
        share = i / criterion.rounds
        if scope == "global":
            total = _on_the_way(sum(before.values()), sum(counts.values()), share)
            left = prune_globally(scores, left, total)
        else:
            left = {
                name: top_k(scores[name], _on_the_way(before[name], counts[name], share), mask)
                for name, mask in left.items()
            }
        del scores  # so that the next round does not hold both
    return Masks(left)


def check_scope(scope: str) -> None:
    """Refuse a scope that there is not.

    Raises:
        ValueError: it is neither ``"layer"`` nor ``"global"``.
    """
    if scope not in ("layer", "global"):
        raise ValueError(f"scope is {scope!r}; choose layer or global")


def _on_the_way(before: int, final: int, share: float) -> int:
    """Return a count that falls exponentially from ``before`` to ``final`` as ``share`` rises from 0 to 1."""
    return round(before * (final / before) ** share) if before > final > 0 else final


def _check_scores(scores: Mapping[str, Tensor], criterion: Criterion) -> None:
    for name, score in scores.items():
        if not all_finite([score]):
            raise ValueError(f"{criterion} rates {name!r} with numbers that are not finite: look at weights and loss")
    if not any(bool(score.any()) for score in scores.values()):
        raise ValueError(f"{criterion} rates every weight 0, which chooses none: are weights or gradients all 0?")
