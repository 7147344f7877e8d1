"""SparseTraining: one method for all sparse weights of a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytorch_lightning as pl
import torch
from torch import nn

from .checkpoint import check_fit, read_masks
from .owner import MaskOwner
from .sparsity import (
    ERK,
    Distribution,
    Initialization,
    Masks,
    SparseWeight,
    UnitScaled,
    generator_for,
    select,
)
from .sparsity.sharding import whole_weight, write


class SparseTraining(MaskOwner):
    """Train any LightningModule with a fixed random mask (static sparse training).

    The module stays an ordinary dense one: a weight is sparse because its masked entries are exactly 0,
    after every optimizer step, with any optimizer. The masks live in this callback and in its part of the
    checkpoint. Subclasses change the masks during the fit.

    Logs ``sparsity/target`` and ``sparsity/actual``, measured on the weights, every
    ``Trainer(log_every_n_steps)`` steps.

    Args:
        sparsity: fraction of zeros over all selected weights, in [0, 1).
        distribution: how the sparsity differs from layer to layer.
        initialization: first values of the selected weights, given once when the masks are drawn. The
            default draws them anew; to start from loaded weights choose ``Dense()``.
        include: patterns of parameter names or layer classes to make sparse; see :func:`select`.
        exclude: patterns to leave dense.
        masks_from: masks to start with, or a checkpoint of an earlier sparse run that holds them, instead of
            ``sparsity`` and ``distribution``.
        seed: of the random masks and initial values. Give all ranks the same.

    Raises:
        ValueError: at construction, for a sparsity outside [0, 1). In ``setup``, when a pattern matches
            nothing, a layer would keep no weight, another callback owns masks too, or the strategy is not
            supported. When resuming, for a checkpoint without masks or with masks that do not fit.
        RuntimeError: during the fit, when the weights are not as sparse as they should be or the masks
            differ between ranks.

    Example:
        >>> pl.Trainer(callbacks=[SparseTraining(sparsity=0.9)])  # doctest: +SKIP
    """

    works_sharded: ClassVar[bool] = True  # with FSDP2

    def __init__(
        self,
        sparsity: float = 0.9,
        *,
        distribution: Distribution = ERK(),
        initialization: Initialization = UnitScaled(),
        include: str | Sequence[str] = "*",
        exclude: str | Sequence[str] = (),
        masks_from: str | Path | Masks | None = None,
        seed: int = 0,
    ) -> None:
        if not 0 <= sparsity < 1:
            raise ValueError(f"sparsity is {sparsity}; it is a fraction of zeros in [0, 1)")
        super().__init__()
        self.sparsity = sparsity
        self.distribution = distribution
        self.initialization = initialization
        self.include = include
        self.exclude = exclude
        self.masks_from = masks_from
        self.seed = seed

    def _plan(self, module: nn.Module) -> tuple[dict[str, SparseWeight], dict[str, int]]:
        selected = select(module, self.include, self.exclude)
        shapes = {name: weight.parameter.shape for name, weight in selected.items()}
        return selected, self.distribution(shapes, self.sparsity)

    def _wanted(self, counts: dict[str, int]) -> dict[str, int]:
        return counts if self.masks_from is not None else self._target

    def _draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.masks_from is not None:
            if isinstance(self.masks_from, Mapping) and not self.masks_from:
                raise ValueError("masks_from is empty: give masks, or leave it out to draw them from sparsity")
            masks = self.masks_from if isinstance(self.masks_from, Masks) else read_masks(self.masks_from)
            check_fit(masks, self._weights, f"masks_from {str(self.masks_from)!r}")
        else:
            masks = self.first_masks(trainer, pl_module)
        self.masks = masks.beside(self._weights)
        with torch.no_grad():
            for index, (name, weight) in enumerate(self._selected.items()):
                generator = generator_for(self.seed, -1, index)
                write(weight.parameter, self.initialization(whole_weight(weight), self.masks[name], generator))

    def first_masks(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Masks:
        """The masks a fresh fit starts with; weights are still those of the module."""
        shapes = {name: weight.shape for name, weight in self._weights.items()}
        return Masks.random(shapes, self._target, seed=self.seed)

    def _check_counts(self, counts: Mapping[str, int], what: str) -> None:
        for name, count in counts.items():
            if count != self._target[name]:
                raise ValueError(
                    f"{what} keep {count} weights in {name!r}, but {type(self).__name__}(sparsity={self.sparsity}, "
                    f"distribution={self.distribution}) keeps {self._target[name]}: use the arguments of the run "
                    "they come from"
                )
