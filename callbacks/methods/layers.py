"""Layers: the weights that one method makes sparse, as the method sees them."""

from __future__ import annotations

from torch import Tensor, nn

from ..sparsity import Masks, SparseWeight
from ..sparsity.rules.averages import GradientAverages


class Layers:
    """The weights that one method makes sparse, their masks, and what the method remembers of them.

    Attributes:
        selected: the weights by parameter name, and how their dimensions connect inputs to outputs.
        weights: the parameters alone. During an update their gradients are dense.
        masks: which entries are active; True = active.
        budget: how many weights of each layer the method keeps in the end (:meth:`Method.budget`).
        target: how many weights of each layer are to be active now. The masks are checked against it, so that a
            method that changes how many they are says so here.
        order: names in the order in which a forward pass first uses them, for methods that ablate neurons; empty before
            the first one.
        averages: the averages of dense gradients, for methods that look at several steps.
        memory: tensors that the method remembers, by purpose and parameter name. They are saved with the masks.
    """

    def __init__(self) -> None:
        self.selected: dict[str, SparseWeight] = {}
        self.weights: dict[str, nn.Parameter] = {}
        self.masks = Masks({})
        self.budget: dict[str, int] = {}
        self.target: dict[str, int] = {}
        self.order: list[str] = []
        self.averages = GradientAverages()
        self.memory: dict[str, dict[str, Tensor]] = {}
