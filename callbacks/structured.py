"""Structured sparsity: masks with a pattern that a kernel can use, SRigL and N:M."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .dynamic import DynamicSparseTraining
from .observer import log_metrics
from .sparsity import (
    Gradient,
    Masks,
    Random,
    Score,
    SparseWeight,
    Uniform,
    UpdateWindow,
    drop_and_grow_per_row,
    exchange_at_constant_fan_in,
    generator_for,
    n_of_m,
    top_per_row,
)
from .sparsity.constant_fan_in import fan_in_of

NEVER = UpdateWindow(every=sys.maxsize, stop=math.inf)


class SRigL(DynamicSparseTraining):
    """RigL with a constant fan-in: every neuron of a layer has the same number of inputs, or none.

    A neuron is an output unit: a row of a linear weight, an output channel of a convolution. One that keeps too few
    salient inputs is ablated and leaves its inputs to the others; it may return. Its bias and its norm stay, so that
    it gives a constant. The last of the selected weights, which makes the output, keeps all its neurons.

    Logs, besides :class:`DynamicSparseTraining`, ``sparsity/ablated`` at each update: the share of neurons without
    inputs, over all sparse layers. A layer's budget that its active neurons do not divide is rounded down, by less
    than one weight a neuron (less than a whole neuron where all that are left are dense); ``sparsity/target`` is what
    is left.

    Args:
        sparsity: as in :class:`SparseTraining`.
        gamma: how many salient inputs a neuron needs to stay, as a share in [0, 1] of the fan-in that it would have
            if no neuron of its layer were ablated: the layer's budget over all its neurons, rounded down. At least
            one. 0.3 for convolutional networks, 0.95 for vision transformers.
        ablation: False keeps every neuron.
        dynamic: the other arguments of :class:`DynamicSparseTraining`, without ``grow``.

    Raises:
        ValueError: ``gamma`` is outside [0, 1]; in ``setup``, when a layer has fewer weights than neurons; masks of
            ``masks_from`` or of a checkpoint have no constant fan-in; and as :class:`DynamicSparseTraining`.

    Reference:
        Lasby et al. 2024, "Dynamic Sparse Training with Structured Sparsity", section 3. New values are drawn, unless
        another initialization is asked for, with the variance of this repository's ``UnitScaled``; their code takes
        it for a standard deviation.

    Example:
        >>> SRigL(0.9, gamma=0.95).grow
        Gradient()
    """

    def __init__(self, sparsity: float = 0.9, *, gamma: float = 0.3, ablation: bool = True, **dynamic: Any) -> None:
        super().__init__(sparsity, grow=Gradient(), **dynamic)
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma is {gamma}; it is a share of the fan-in without ablation, in [0, 1]")
        self.gamma = gamma
        self.ablation = ablation
        self._budget: dict[str, int] = {}  # weights that the neurons of a layer share

    def _plan(self, module: nn.Module) -> tuple[dict[str, SparseWeight], dict[str, int]]:
        selected, budget = super()._plan(module)
        if self.masks_from is None:
            self._budget = budget
        for name, layer in selected.items():
            if budget[name] < layer.neurons:
                raise ValueError(
                    f"{self.distribution} at sparsity {self.sparsity} leaves {name!r} {tuple(layer.parameter.shape)} "
                    f"{budget[name]} weights, fewer than one for each of its {layer.neurons} neurons: lower the "
                    "sparsity, exclude the layer or choose another distribution"
                )
        return selected, {name: budget[name] // layer.neurons * layer.neurons for name, layer in selected.items()}

    def first_masks(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Masks:
        masks = {}
        for index, (name, layer) in enumerate(self._selected.items()):
            noise = torch.rand(layer.neurons, layer.inputs, generator=generator_for(self.seed, 0, index))
            fan_in = torch.full((layer.neurons,), self._target[name] // layer.neurons)
            masks[name] = layer.from_neurons(top_per_row(noise, fan_in, torch.ones_like(noise, dtype=torch.bool)))
        return Masks(masks)

    def _draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super()._draw(trainer, pl_module)
        if self.masks_from is not None:
            self._budget = dict(self.masks.counts)

    def _wanted(self, counts: dict[str, int]) -> dict[str, int]:
        wanted = {}
        for name, layer in self._selected.items():
            fan_ins = layer.by_neuron(self.masks[name]).sum(1)
            active = fan_ins[fan_ins > 0]
            if len(active) == 0 or int(active.min()) != int(active.max()):
                raise ValueError(
                    f"the masks give the neurons of {name!r} from {int(fan_ins.min())} to {int(fan_ins.max())} inputs, "
                    "but with SRigL all have the same number or none: start from masks of SRigL, or without"
                )
            wanted[name] = self._count(layer, len(active), self._budget[name])
        return wanted

    def _count(self, layer: SparseWeight, active: int, budget: int) -> int:
        """Weights of a layer with this many active neurons."""
        return active * fan_in_of(budget, active, layer.inputs)

    def new_mask(self, name: str, drop_score: Tensor, grow_score: Tensor, n: int) -> Tensor:
        layer, budget = self._selected[name], self._budget[name]
        ablates = self.ablation and name != list(self._selected)[-1]
        mask = exchange_at_constant_fan_in(
            layer.by_neuron(self.masks[name]),
            layer.by_neuron(drop_score),
            layer.by_neuron(grow_score),
            n,
            budget=budget,
            gamma=self.gamma if ablates else None,
        )
        self._target[name] = self._count(layer, int(mask.any(1).count_nonzero()), budget)
        return layer.from_neurons(mask)

    def masks_changed(self, trainer: pl.Trainer, optimizer: Optimizer, changed: Mapping[str, Tensor]) -> None:
        super().masks_changed(trainer, optimizer, changed)
        neurons = sum(layer.neurons for layer in self._selected.values())
        active = neurons - sum(self.dead_units().values())
        log_metrics(trainer, {f"{self._prefix}ablated": 1 - active / neurons})

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "budget": dict(self._budget)}

    def _load_state(self, state: Mapping[str, Any]) -> None:
        super()._load_state(state)
        if self.masks_from is not None:  # else it follows from the arguments, and masks of others do not fit it
            self._budget = dict(state.get("budget", self.masks.counts))


class NM(DynamicSparseTraining):
    """N:M sparsity: of every ``m`` consecutive inputs of a neuron exactly ``n`` are active.

    The sparsity is 1 - n / m. An update drops weights with the lowest scores of the whole layer, and each group of m
    grows as many as it lost where the scores are highest, so that the pattern holds at all times.

    Consecutive are input features of a linear layer, and input channels at the same kernel tap of a convolution (where
    m does not divide the channels, groups go on at the next tap). So the m weights lie side by side in a row of the
    matrix that 2:4 kernels multiply by, for a convolution that of the weight in memory format channels last.

    A trained network is pruned to the pattern with ``NM(2, 4, start=Magnitude(), initialization=Dense())``.

    Args:
        n: active weights of a group, in [1, m].
        m: weights of a group.
        start: the first masks keep the weights with the highest scores of each group. It sees the module's weights
            and gradients of 0, so that ``Random()`` and ``Magnitude()`` make sense.
        fixed: the first masks stay; ``window`` and the arguments of updates mean nothing then.
        grow: as in :class:`DynamicSparseTraining`.
        window: as in :class:`DynamicSparseTraining`.
        dynamic: the other arguments of :class:`DynamicSparseTraining`, without ``sparsity`` and ``distribution``.

    Raises:
        ValueError: ``n`` is outside [1, m]; in ``setup``, when m does not divide the inputs of a layer; masks of
            ``masks_from`` or of a checkpoint have another pattern; and as :class:`DynamicSparseTraining`.

    Reference:
        The pattern is that of Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks"; the updates are RigL's,
        within each group.

    Example:
        >>> NM(2, 4).sparsity
        0.5
    """

    def __init__(
        self,
        n: int = 2,
        m: int = 4,
        *,
        start: Score = Random(),
        fixed: bool = False,
        grow: Score = Gradient(),
        window: UpdateWindow = UpdateWindow(),
        **dynamic: Any,
    ) -> None:
        if not 1 <= n <= m:
            raise ValueError(f"NM keeps n = {n} of m = {m} weights; n lies in [1, m]")
        window = NEVER if fixed else window
        super().__init__(1 - n / m, distribution=Uniform(), grow=grow, window=window, **dynamic)
        self.n = n
        self.m = m
        self.start = start
        self.fixed = fixed

    def _plan(self, module: nn.Module) -> tuple[dict[str, SparseWeight], dict[str, int]]:
        selected, _ = super()._plan(module)
        for name, layer in selected.items():
            if layer.inputs % self.m:
                raise ValueError(
                    f"m = {self.m} does not divide the {layer.inputs} inputs of the neurons of {name!r} "
                    f"{tuple(layer.parameter.shape)}: leave the layer dense with exclude={name!r}, or choose another m"
                )
        return selected, {name: layer.parameter.numel() // self.m * self.n for name, layer in selected.items()}

    def first_masks(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Masks:
        masks = {}
        for index, (name, layer) in enumerate(self._selected.items()):
            weight = layer.parameter.detach()
            score = self.start(weight, torch.zeros_like(weight), generator_for(self.seed, 0, index))
            masks[name] = layer.from_neurons(n_of_m(layer.by_neuron(score), self.n, self.m))
        return Masks(masks)

    def _wanted(self, counts: dict[str, int]) -> dict[str, int]:
        for name in self._selected:
            if bool((self._groups_of(name, self.masks[name]).sum(1) != self.n).any()):
                raise ValueError(
                    f"the masks of {name!r} are not {self.n}:{self.m}: start from masks with this pattern, or without"
                )
        return self._target

    def new_mask(self, name: str, drop_score: Tensor, grow_score: Tensor, n: int) -> Tensor:
        mask, drop, grow = (self._groups_of(name, tensor) for tensor in (self.masks[name], drop_score, grow_score))
        groups = drop_and_grow_per_row(mask, drop, grow, n, torch.full_like(mask[:, 0], self.n, dtype=torch.long))
        layer = self._selected[name]
        return layer.from_neurons(groups.view(layer.neurons, layer.inputs))

    def _groups_of(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of the weight's shape as (group, m)."""
        return self._selected[name].by_neuron(tensor).reshape(-1, self.m)
