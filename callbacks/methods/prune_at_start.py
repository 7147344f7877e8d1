"""PruneAtStart: the mask is chosen once, from the weights a fit starts with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..sparsity import Criterion, Distribution, Initialization, KeepValues, Masks, OneShotMagnitude, Uniform
from ..sparsity.rules.criteria import BatchLoss
from ..sparsity.rules.one_shot import Scope, check_scope, choose_masks
from .layers import Layers
from .method import FirstLook, Method


@dataclass(frozen=True, kw_only=True)
class PruneAtStart(Method):
    """Prune before the first step, then train with the mask fixed.

    The criterion looks at the module's own weights, initial or loaded, and at batches of the training data, on a copy:
    the run's data order, random numbers and norm statistics stay as they are. All processes take the masks that
    the first one chose.

    Args:
        sparsity: as in :class:`Method`, like all arguments that are not named here.
        criterion: which weights to keep: ``OneShotMagnitude()``, ``SNIP()``, ``GraSP()`` or ``SynFlow()``.
        scope: ``"global"`` keeps the best of all layers together, as in the papers of all four; ``"layer"`` keeps in
            each layer what ``distribution`` gives it.
        batches: for the criterion: a number of batches (over all ranks) of random training samples, or a list of
            batches in the form the module's ``training_step`` takes.
        loss: ``(module, batch) -> loss``; the default is ``module.training_step(batch, 0)``.
        distribution: how the sparsity differs from layer to layer; with a global scope only the sum counts.
        initialization: values after pruning; the default keeps those the criterion saw.

    Raises:
        ValueError: ``batches`` is none; at the start of the fit, when a layer would be left without a weight, scores
            are not finite, or the training data is not one DataLoader; and as :class:`Method`.
        RuntimeError: the criterion cannot run a copy of the module by itself: give ``loss``.

    Example:
        >>> from callbacks.sparsity import SNIP
        >>> PruneAtStart(0.9, criterion=SNIP(), batches=5).criterion
        SNIP()
    """

    criterion: Criterion = OneShotMagnitude()
    scope: Scope = "global"
    batches: int | Sequence[Any] = 1
    loss: BatchLoss | None = None
    distribution: Distribution = Uniform()
    initialization: Initialization = KeepValues()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scope(self.scope)
        if (self.batches if isinstance(self.batches, int) else len(self.batches)) < 1:
            raise ValueError(f"batches is {self.batches}; give a number, 1 or more, or a list of at least one batch")

    def first_masks(self, layers: Layers, look: FirstLook) -> Masks:
        def choose(module: nn.Module, loss: BatchLoss | None, batches: list[Any]) -> Masks:
            data: dict[str, Any] = {"loss": loss, "batches": batches}
            return choose_masks(module, layers.target, self.criterion, scope=self.scope, **data, disposable=True)

        batches = self.batches if self.criterion.uses_data else []
        return look(choose, what=self.criterion, batches=batches, loss=self.loss, seed=self.seed)

    def expected_counts(self, layers: Layers) -> dict[str, int]:
        expected, counts = super().expected_counts(layers), layers.masks.counts
        as_many = sum(counts.values()) == sum(expected.values())
        return counts if self.scope == "global" and as_many else expected
