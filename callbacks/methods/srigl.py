"""SRigL: every neuron of a layer has the same number of inputs, or none."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from ..sparsity import GradientScore, Masks, Score, SparseWeight, generator_for
from ..sparsity.rules.constant_fan_in import exchange_at_constant_fan_in, fan_in_of
from ..sparsity.rules.updates import top_per_row
from .dynamic import DynamicSparseTraining
from .layers import Layers
from .method import ADDED, FirstLook


@dataclass(frozen=True, kw_only=True)
class SRigL(DynamicSparseTraining):
    """RigL with a constant fan-in: every neuron of a layer has the same number of inputs, or none.

    A neuron is an output unit: a row of a linear weight, an output channel of a convolution. One that keeps too few
    salient inputs is ablated and leaves its inputs to the others; it may return. Its bias and its norm stay, so that
    it gives a constant. The last of the selected weights that the network's forward uses, which makes the output, keeps
    all its neurons; of a network with several outputs, or under ``torch.compile``, say with ``outputs`` which do.

    The callback logs, besides what it logs of :class:`DynamicSparseTraining`, ``sparsity/ablated`` at each update: the
    share of neurons without inputs, over all sparse layers. A layer's budget that its active neurons do not divide is
    rounded down, by less than one weight a neuron (less than a whole neuron where all that are left are dense);
    ``sparsity/target`` is what is left.

    Args:
        sparsity: as in :class:`DynamicSparseTraining`, like all arguments that are not named here; there is no
            ``grow``.
        gamma: how many salient inputs a neuron needs to stay, as a share in [0, 1] of the fan-in that it would have
            if no neuron of its layer were ablated: the layer's budget over all its neurons, rounded down. At least
            one. 0.3 for convolutional networks, 0.95 for vision transformers.
        ablation: False keeps every neuron.
        outputs: patterns of names of weights whose neurons are outputs of the network and are never ablated. None takes
            the weight that the first forward uses last.

    Raises:
        ValueError: ``gamma`` is outside [0, 1]; in ``setup``, when ``outputs`` matches no selected weight, or a layer
            has fewer weights than neurons; masks of ``masks_from`` or of a checkpoint have no constant fan-in; and as
            :class:`DynamicSparseTraining`.

    Reference:
        Lasby et al. 2024, "Dynamic Sparse Training with Structured Sparsity", section 3. New values are drawn, unless
        another initialization is asked for, with the variance of this repository's ``UnitScaled``; their code takes
        it for a standard deviation.

    Example:
        >>> SRigL(0.9, gamma=0.95).grow
        GradientScore()
    """

    gamma: float = 0.3
    ablation: bool = True
    outputs: str | Sequence[str] | None = field(default=None, metadata=ADDED)
    grow: Score = field(default=GradientScore(), init=False)

    works_on_shards: ClassVar[bool] = False
    saves_budget_as: ClassVar[str] = "budget"
    ablates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"gamma is {self.gamma}; it is a share of the fan-in without ablation, in [0, 1]")

    def budget(self, selected: Mapping[str, SparseWeight]) -> dict[str, int]:
        budget = super().budget(selected)
        self._outputs(list(selected), [])
        for name, layer in selected.items():
            if budget[name] < layer.neurons:
                raise ValueError(
                    f"{self.distribution} at sparsity {self.sparsity} leaves {name!r} {tuple(layer.parameter.shape)} "
                    f"{budget[name]} weights, fewer than one for each of its {layer.neurons} neurons: lower the "
                    "sparsity, exclude the layer or choose another distribution"
                )
        return budget

    def first_counts(self, layers: Layers) -> dict[str, int]:
        return {name: layers.budget[name] // layer.neurons * layer.neurons for name, layer in layers.selected.items()}

    def first_masks(self, layers: Layers, look: FirstLook) -> Masks:
        masks = {}
        for index, (name, layer) in enumerate(layers.selected.items()):
            noise = torch.rand(layer.neurons, layer.inputs, generator=generator_for(self.seed, 0, index))
            fan_in = torch.full((layer.neurons,), layers.target[name] // layer.neurons)
            masks[name] = layer.from_neurons(top_per_row(noise, fan_in, torch.ones_like(noise, dtype=torch.bool)))
        return Masks(masks)

    def initialize(self, layers: Layers) -> None:
        super().initialize(layers)
        if self.masks_from is not None:
            layers.budget = dict(layers.masks.counts)

    def resume_budget(self, layers: Layers, saved: Mapping[str, int] | None) -> dict[str, int]:
        if self.masks_from is None:  # the budget follows from the arguments, whatever masks the checkpoint holds
            return layers.budget
        return dict(saved or layers.masks.counts)

    def expected_counts(self, layers: Layers) -> dict[str, int]:
        expected = {}
        for name, layer in layers.selected.items():
            fan_ins = layer.by_neuron(layers.masks[name]).sum(1)
            active = fan_ins[fan_ins > 0]
            if len(active) == 0 or int(active.min()) != int(active.max()):
                raise ValueError(
                    f"the masks give the neurons of {name!r} from {int(fan_ins.min())} to {int(fan_ins.max())} inputs, "
                    "but with SRigL all have the same number or none: start from masks of SRigL, or without"
                )
            expected[name] = _count(layer, len(active), layers.budget[name])
        return expected

    def new_mask(self, layers: Layers, name: str, drop_score: Tensor, grow_score: Tensor, n: int) -> Tensor:
        layer, budget = layers.selected[name], layers.budget[name]
        ablates = self.ablation and name not in self._outputs(list(layers.selected), layers.order)
        mask = exchange_at_constant_fan_in(
            layer.by_neuron(layers.masks[name]),
            layer.by_neuron(drop_score),
            layer.by_neuron(grow_score),
            n,
            budget=budget,
            gamma=self.gamma if ablates else None,
        )
        layers.target[name] = _count(layer, int(mask.any(1).count_nonzero()), budget)
        return layer.from_neurons(mask)

    def _outputs(self, names: Sequence[str], order: Sequence[str]) -> list[str]:
        """Return the names of weights that make outputs of the network.

        Raises:
            ValueError: a pattern of ``outputs`` matches none.
        """
        if self.outputs is None:
            used = [name for name in order if name in names]
            return [used[-1] if used else names[-1]]
        patterns = [self.outputs] if isinstance(self.outputs, str) else self.outputs
        for pattern in patterns:
            if not fnmatch.filter(names, pattern):
                raise ValueError(f"outputs pattern {pattern!r} matches none of the selected weights {', '.join(names)}")
        return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _count(layer: SparseWeight, active: int, budget: int) -> int:
    """Return the number of weights of a layer with so many active neurons."""
    return active * fan_in_of(budget, active, layer.inputs)
