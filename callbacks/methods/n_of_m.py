"""NM: of every m consecutive inputs of a neuron, n are active."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from ..sparsity import Distribution, GradientScore, Masks, RandomScore, Score, SparseWeight, Uniform, generator_for
from ..sparsity.old_names import warn_renamed
from ..sparsity.rules.n_of_m import n_of_m
from ..sparsity.rules.updates import drop_and_grow_per_row
from .dynamic import DynamicSparseTraining
from .layers import Layers
from .method import NEVER, FirstLook


@dataclass(frozen=True)
class NM(DynamicSparseTraining):
    """N:M sparsity: of every ``m`` consecutive inputs of a neuron exactly ``n`` are active.

    The sparsity is 1 - n / m. An update drops weights with the lowest scores of the whole layer, and each group of m
    grows as many as it lost where the scores are highest, so that the pattern holds at all times.

    Consecutive are input features of a linear layer, and input channels at the same kernel tap of a convolution (where
    m does not divide the channels, groups go on at the next tap). So the m weights lie side by side in a row of the
    matrix that 2:4 kernels multiply by, for a convolution that of the weight in memory format channels last.

    A trained network is pruned to the pattern with
    ``NM(2, 4, first_score=MagnitudeScore(), initialization=KeepValues())``.

    Args:
        n: active weights of a group, in [1, m].
        m: weights of a group.
        first_score: the first masks keep the weights with the highest scores of each group. It sees the module's
            weights and gradients of 0, so that ``RandomScore()`` and ``MagnitudeScore()`` make sense.
        fixed: the first masks stay; ``window`` and the arguments of updates mean nothing then.
        start: the old name of ``first_score``, which the next release will not know.
        grow: as in :class:`DynamicSparseTraining`, like all arguments that are not named here; there are no
            ``sparsity`` and ``distribution``.

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

    sparsity: float = field(default=0.5, init=False)
    n: int = 2
    m: int = 4
    _: KW_ONLY
    first_score: Score = RandomScore()
    fixed: bool = False
    start: InitVar[Score | None] = None
    grow: Score = GradientScore()
    distribution: Distribution = field(default=Uniform(), init=False)

    works_on_shards: ClassVar[bool] = False

    def __post_init__(self, start: Score | None) -> None:
        if start is not None:
            warn_renamed(f"NM(start={start})", "first_score", stacklevel=6)  # in the line that calls callbacks.NM
            object.__setattr__(self, "first_score", start)
        if not 1 <= self.n <= self.m:
            raise ValueError(f"NM keeps n = {self.n} of m = {self.m} weights; n lies in [1, m]")
        object.__setattr__(self, "sparsity", 1 - self.n / self.m)
        if self.fixed:
            object.__setattr__(self, "window", NEVER)
        super().__post_init__()

    def budget(self, selected: Mapping[str, SparseWeight]) -> dict[str, int]:
        for name, layer in selected.items():
            if layer.inputs % self.m:
                raise ValueError(
                    f"m = {self.m} does not divide the {layer.inputs} inputs of the neurons of {name!r} "
                    f"{tuple(layer.parameter.shape)}: leave the layer dense with exclude={name!r}, or choose another m"
                )
        return {name: layer.parameter.numel() // self.m * self.n for name, layer in selected.items()}

    def first_masks(self, layers: Layers, look: FirstLook) -> Masks:
        masks = {}
        for index, (name, layer) in enumerate(layers.selected.items()):
            weight = layer.parameter.detach()
            score = self.first_score(weight, torch.zeros_like(weight), generator_for(self.seed, 0, index))
            masks[name] = layer.from_neurons(n_of_m(layer.by_neuron(score), self.n, self.m))
        return Masks(masks)

    def expected_counts(self, layers: Layers) -> dict[str, int]:
        for name, layer in layers.selected.items():
            if bool((self._groups(layer, layers.masks[name]).sum(1) != self.n).any()):
                raise ValueError(
                    f"the masks of {name!r} are not {self.n}:{self.m}: start from masks with this pattern, or without"
                )
        return layers.target

    def new_mask(self, layers: Layers, name: str, drop_score: Tensor, grow_score: Tensor, n: int) -> Tensor:
        layer = layers.selected[name]
        mask, drop, grow = (self._groups(layer, tensor) for tensor in (layers.masks[name], drop_score, grow_score))
        groups = drop_and_grow_per_row(mask, drop, grow, n, torch.full_like(mask[:, 0], self.n, dtype=torch.int32))
        return layer.from_neurons(groups.view(layer.neurons, layer.inputs))

    def _groups(self, layer: SparseWeight, tensor: Tensor) -> Tensor:
        """Return a tensor of the weight's shape as (group, m)."""
        return layer.by_neuron(tensor).reshape(-1, self.m)
