"""Dynamic sparse training: the masks move while the number of active weights stays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..sparsity import (
    Cosine,
    GradientScore,
    MagnitudeScore,
    RandomScore,
    Schedule,
    Score,
    UpdateWindow,
    drop_and_grow,
    generator_for,
)
from ..sparsity.masks.sharding import gather, is_sharded
from .layers import Layers
from .method import Method, Moment

NO_NUMBERS = torch.Generator()  # for scores that draw no random numbers


@dataclass(frozen=True, kw_only=True)
class DynamicSparseTraining(Method):
    """Drop some active weights of each layer and grow as many, every ``window.every`` optimizer steps.

    An update whose weights or gradients are not finite is put off to the next step and counted. Grown
    weights start at exactly 0 with cleared optimizer state; a weight that is dropped and grown in the same
    update keeps its value. With several optimizers each counts its own steps and updates its own weights.
    Weights without a gradient are left alone.

    With small batches the gradient of a single step is noisy. With ``gradient_steps`` n the scores see the mean of
    the dense gradients of an update's step and the n - 1 before it, as from a batch n times as large. A step in
    which any weight or gradient is not finite adds nothing to the mean; an update that is put off sees the mean of
    all finite ones since its n steps began.

    The callback logs, besides what :class:`SparseTraining` logs, at each update ``sparsity/churn`` (share of the
    active weights that were exchanged) and ``sparsity/explored`` (share of all weights that were ever active), and
    ``sparsity/deferred`` (updates put off so far) when that happens.

    Args:
        sparsity: as in :class:`Method`, like all arguments that are not named here.
        drop: active weights with the lowest score are dropped.
        grow: inactive weights with the highest score are grown.
        drop_fraction: share of a layer's active weights to exchange, in [0, 1].
        window: when to update; progress of ``drop_fraction`` runs from step 0 to the window's end. In
            manual optimization a fraction is one of the batches, so give steps for an optimizer that does
            not step once a batch.
        update_replaces_step: at an update the optimizer does nothing, as in the paper's algorithm 1; gradients
            are None then, which a hook of the module that reads them must expect.
            False: the update comes first and the optimizer steps right after, with the same gradients
            under the new mask (the authors' code for SET steps first and updates after).
        gradient_steps: optimizer steps whose dense gradients an update averages, from 1 to ``window.every``.

    Raises:
        ValueError: ``drop_fraction`` starts or ends outside [0, 1]; every step would be replaced; ``gradient_steps``
            is below 1 or above ``window.every``; and as :class:`Method`.

    Example:
        >>> DynamicSparseTraining(0.9, grow=GradientScore()).drop
        MagnitudeScore()
    """

    drop: Score = MagnitudeScore()
    grow: Score = RandomScore()
    drop_fraction: Schedule = Cosine(0.3)
    window: UpdateWindow = UpdateWindow()
    update_replaces_step: bool = True
    gradient_steps: int = 1

    works_on_shards: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_drop_fraction(self.drop_fraction)
        if self.update_replaces_step and self.window.every == 1:
            raise ValueError("window.every is 1 and updates replace steps: no step is left to train")
        if not 1 <= self.gradient_steps <= self.window.every:
            raise ValueError(
                f"gradient_steps is {self.gradient_steps}; from one update to the next there are 1 to "
                f"{self.window.every} steps (window.every) whose gradients can be averaged"
            )

    def check_run(self, layers: Layers, total_steps: float) -> None:
        super().check_run(layers, total_steps)
        if self.gradient_steps > 1 and any(map(is_sharded, layers.weights.values())):
            raise ValueError(
                f"gradient_steps is {self.gradient_steps}, but the weights are sharded over processes, whose gradients "
                "are not averaged over steps: pass 1, and larger batches"
            )

    def averages_at(self, step: int, total_steps: float, deferred: bool) -> bool:
        ahead = range(step, step + self.gradient_steps)
        return deferred or any(self.window.due(later, total_steps) for later in ahead)

    def needs_dense_gradients(self, step: int, total_steps: float, deferred: bool) -> bool:
        return self.grow.needs_gradient and self.averages_at(step, total_steps, deferred)

    def updatable(
        self, held: Sequence[Mapping[str, nn.Parameter]], index: int, weights: Mapping[str, nn.Parameter]
    ) -> dict[str, nn.Parameter]:
        return {name: weight for name, weight in held[index].items() if weight.grad is not None}

    def new_masks(self, layers: Layers, weights: Mapping[str, nn.Parameter], moment: Moment) -> dict[str, Tensor]:
        progress, changed = self.window.progress(moment.step, moment.total_steps), {}
        fraction = self.drop_fraction(progress, moment.lr_ratio)
        for name, drop, grow in self.scores(layers, weights, moment.step):
            n = math.floor(layers.masks.counts[name] * fraction)
            changed[name] = self.new_mask(layers, name, drop, grow, n)
        return changed

    def new_mask(self, layers: Layers, name: str, drop_score: Tensor, grow_score: Tensor, n: int) -> Tensor:
        """Return the new mask of a layer that exchanges ``n`` of its connections."""
        return drop_and_grow(layers.masks[name], drop_score, grow_score, n, active=layers.masks.counts[name])

    def scores(
        self, layers: Layers, weights: Mapping[str, nn.Parameter], step: int
    ) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield the drop and grow scores of each of ``weights``; an averaged gradient stands for that of the step."""
        for index, name in enumerate(layers.weights):
            if name not in weights or (grad := layers.averages.values.get(name, weights[name].grad)) is None:
                continue
            weight = weights[name].detach()
            if isinstance(weight, DTensor):
                weight, grad = gather(weight), gather(grad)
            generator = generator_for(self.seed, step, index) if self.drop.draws or self.grow.draws else NO_NUMBERS
            yield name, self.drop(weight, grad, generator), self.grow(weight, grad, generator)


@dataclass(frozen=True, kw_only=True)
class SET(DynamicSparseTraining):
    """Drop the smallest magnitudes, grow at random (Mocanu et al. 2018).

    Args:
        sparsity: as in :class:`DynamicSparseTraining`, like all other arguments; there is no ``grow``.

    Example:
        >>> SET(0.9, window=UpdateWindow(every=500)).grow
        RandomScore()
    """

    grow: Score = field(default=RandomScore(), init=False)


@dataclass(frozen=True, kw_only=True)
class RigL(DynamicSparseTraining):
    """Drop the smallest magnitudes, grow where the dense gradient is largest (Evci et al. 2020).

    Args:
        sparsity: as in :class:`DynamicSparseTraining`, like all other arguments; there is no ``grow``.

    Reference:
        Liu et al. 2021 (ITOP) let RigL explore more in a long run: rare updates that exchange much, here
        ``RigL(0.9, drop_fraction=Cosine(0.5), window=UpdateWindow(every=4000))`` for batches of 128. Their rate of
        exploration R_s is ``sparsity/explored``. Where the paper's batches of 4096 do not fit, ``gradient_steps``
        averages the gradient over small ones.

    Example:
        >>> RigL(0.9).window
        UpdateWindow(every=100, start=0.0, stop=0.75)
    """

    grow: Score = field(default=GradientScore(), init=False)


def check_drop_fraction(schedule: Schedule) -> None:
    """Refuse a drop fraction that is not a share.

    Raises:
        ValueError: it starts or ends outside [0, 1].
    """
    for progress, verb in ((0.0, "starts"), (1.0, "ends")):
        if not 0 <= schedule(progress) <= 1:
            raise ValueError(f"drop_fraction {verb} at {schedule(progress)}; it is a share in [0, 1]")
