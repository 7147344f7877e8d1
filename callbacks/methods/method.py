"""Method: what one way to train sparsely decides. It knows no Trainer, and has no state of its own."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..sparsity import (
    ERK,
    Distribution,
    Initialization,
    Masks,
    SparseWeight,
    UnitScaled,
    UpdateWindow,
    generator_for,
    select,
)
from ..sparsity.masks.sharding import whole_weight, write
from ..sparsity.rules.criteria import BatchLoss
from .layers import Layers

ADDED = {"added": True}  # a field that the settings of earlier runs do not name: it is named unless it has its default
NEVER = UpdateWindow(every=sys.maxsize, stop=math.inf)


@dataclass(frozen=True)
class Moment:
    """The time of an update.

    Args:
        step: optimizer steps that are done.
        total_steps: optimizer steps of the whole run; infinite if it has no end.
        lr_ratio: the current learning rate over the highest one, in [0, 1].
    """

    step: int
    total_steps: float
    lr_ratio: float = 1.0


Choice = Callable[[nn.Module, "BatchLoss | None", list[Any]], Masks]


class FirstLook(Protocol):
    """A way for a method to look at a module and its training data, to choose its first masks."""

    def __call__(
        self,
        choose: Choice,
        *,
        what: object,
        batches: int | Sequence[Any],
        loss: BatchLoss | None,
        seed: int,
    ) -> Masks:
        """Return the masks that ``choose(module, loss, batches)`` gives on the first process.

        Args:
            choose: gets a copy of the module that may be run and changed, and leaves no trace in the run.
            what: chooses the masks, for messages.
            batches: a number of batches of random training samples, or batches.
            loss: ``(module, batch) -> loss``; None is that of the training step, where there is one.
            seed: the seed of the random samples.

        Raises:
            RuntimeError: the copy of the module cannot run by itself.
        """


@dataclass(frozen=True)
class Method:
    """The decisions of one way to train sparsely, for the weights that it selects.

    A method is a frozen dataclass whose functions take the :class:`Layers` they decide about. Who calls them, a
    Lightning callback or a loop of your own, keeps the layers and puts the masks in force.

    Args:
        sparsity: fraction of zeros over all selected weights, in [0, 1).
        distribution: how the sparsity differs from layer to layer.
        initialization: first values of the selected weights, given once when the masks are drawn. The default draws
            them anew; to start from loaded weights choose ``KeepValues()``.
        include: patterns of parameter names or layer classes to make sparse; see :func:`callbacks.sparsity.select`.
        exclude: patterns to leave dense.
        transposed: patterns of layers of other libraries whose weights have the inputs in dimension 0.
        masks_from: masks to start with, or a checkpoint of an earlier sparse run that holds them, instead of
            ``sparsity`` and ``distribution``.
        seed: the seed of the random masks and initial values. Give all processes the same.

    Raises:
        ValueError: ``sparsity`` is outside [0, 1).
    """

    sparsity: float = 0.9
    _: KW_ONLY
    distribution: Distribution = ERK()
    initialization: Initialization = UnitScaled()
    include: str | Sequence[str] = "*"
    exclude: str | Sequence[str] = ()
    transposed: str | Sequence[str] = field(default=(), metadata=ADDED)
    masks_from: str | Path | Masks | None = None
    seed: int = 0
    window: UpdateWindow = field(default=NEVER, init=False, repr=False)  # when the masks are updated
    gradient_steps: int = field(default=1, init=False, repr=False)  # how many dense gradients an update averages
    update_replaces_step: bool = field(default=False, init=False, repr=False)  # no step at an update

    works_on_shards: ClassVar[bool] = False  # whether weights may be sharded by FSDP2
    saves_budget_as: ClassVar[str] = ""  # the key of the budget in a checkpoint, for methods that need it
    ablates: ClassVar[bool] = False  # whether neurons lose all their inputs on purpose

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise ValueError(f"sparsity is {self.sparsity}; it is a fraction of zeros in [0, 1)")

    # --- start ---------------------------------------------------------------------------------

    def select(self, module: nn.Module) -> dict[str, SparseWeight]:
        """Return the weights of a module that this method makes sparse."""
        return select(module, self.include, self.exclude, transposed=self.transposed)

    def budget(self, selected: Mapping[str, SparseWeight]) -> dict[str, int]:
        """Return how many weights of each layer are active in the end.

        Raises:
            ValueError: the method cannot give one of the layers that many.
        """
        return self.distribution(shapes_of(selected), self.sparsity)

    def first_counts(self, layers: Layers) -> dict[str, int]:
        """Return how many weights of each layer are active at the first step: by default the budget."""
        return dict(layers.budget)

    def first_masks(self, layers: Layers, look: FirstLook) -> Masks:
        """Return the masks of a new run, with ``layers.target`` active weights in each layer."""
        return Masks.random(shapes_of(layers.selected), layers.target, seed=self.seed)

    def initialize(self, layers: Layers) -> None:
        """Give the selected weights their first values under new masks."""
        for index, (name, weight) in enumerate(layers.selected.items()):
            generator = generator_for(self.seed, -1, index)
            if isinstance(weight.parameter, DTensor):
                write(weight.parameter, self.initialization(whole_weight(weight), layers.masks[name], generator))
            else:
                weight.parameter.copy_(self.initialization(weight, layers.masks[name], generator))

    def resume_budget(self, layers: Layers, saved: Mapping[str, int] | None) -> dict[str, int]:
        """Return the budget of a run that goes on from a checkpoint, which may have ``saved`` one.

        Raises:
            ValueError: the checkpoint is of a run to another end.
        """
        return layers.budget

    def expected_counts(self, layers: Layers) -> dict[str, int]:
        """Return how many weights of each layer should be active when a fit starts with ``layers.masks``.

        Raises:
            ValueError: the masks have not the pattern of this method.
        """
        return layers.masks.counts if self.masks_from is not None else layers.target

    # --- every optimizer step ------------------------------------------------------------------

    @property
    def gradient_momentum(self) -> float | None:
        """The share of the past in an average of dense gradients; None takes their plain mean."""
        return None

    def check_run(self, layers: Layers, total_steps: float) -> None:
        """Refuse a run that is too short for the updates, and weights on which the method does not work.

        Raises:
            ValueError: the run is too short, or has no end; or the method does not work on weights such as these.
        """
        self.window.bounds(total_steps)

    def averages_at(self, step: int, total_steps: float, deferred: bool) -> bool:
        """Return whether the dense gradients of this step are averaged; ``deferred``: an update is waiting."""
        return False

    def needs_dense_gradients(self, step: int, total_steps: float, deferred: bool) -> bool:
        """Return whether this step uses the gradients of inactive weights."""
        return False

    def updatable(
        self, held: Sequence[Mapping[str, nn.Parameter]], index: int, weights: Mapping[str, nn.Parameter]
    ) -> dict[str, nn.Parameter]:
        """Return the weights that an update may change; without any it is put off.

        Args:
            held: the weights that each optimizer holds.
            index: the index of the optimizer that steps next.
            weights: all of them.
        """
        return dict(held[index])

    def new_masks(self, layers: Layers, weights: Mapping[str, nn.Parameter], moment: Moment) -> dict[str, Tensor]:
        """Return the masks that change, out of those of ``weights``, whose gradients are dense and finite."""
        return {}

    def check_end(self, layers: Layers, stepped: bool) -> str:
        """Return what to warn of when a run ends now, or nothing; ``stepped``: an optimizer step was seen.

        Raises:
            RuntimeError: the method had no chance to do its work.
        """
        return ""


@dataclass(frozen=True)
class SparseTraining(Method):
    """Static sparse training: one random mask, fixed for the whole run.

    Example:
        >>> list(SparseTraining(0.9).select(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2))))
        ['0.weight', '2.weight']
    """

    works_on_shards: ClassVar[bool] = True


def shapes_of(selected: Mapping[str, SparseWeight]) -> dict[str, Any]:
    """Return the shapes of the selected weights by name."""
    return {name: weight.parameter.shape for name, weight in selected.items()}
