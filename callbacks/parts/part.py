"""Part: weights that one method makes sparse, with their masks in force. It needs no Trainer."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ..methods import FirstLook, Layers, Method, Moment
from ..sparsity import Masks
from ..sparsity.masks.optimizer_state import clear_state
from ..sparsity.masks.sharding import agreed, local_shard
from ..sparsity.masks.zeros import all_finite, fetch, zero_inactive
from ..sparsity.rules.averages import GradientAverages
from .optimizer_steps import ENTRYWISE, lr_ratio_of, optimizers_within


class Part(Layers):
    """The weights of a module that one method makes sparse, for as long as their masks are in force.

    A method decides; a part does what it says: it draws the masks, zeroes what is inactive, exchanges connections, and
    keeps count. When gradients are complete, a training loop calls :meth:`new_masks`, :meth:`exchange` if some masks
    change, and :meth:`before_step`; then the optimizer steps.

    Args:
        method: what decides.
        prefix: begins the names of what is logged of this part.

    Attributes:
        total_steps: optimizer steps of the whole run; infinite if it has no end.
        steps: what each optimizer has done.
        held: the weights by optimizer.
        deferred: by optimizer, whether an update waits for gradients that are finite.
        deferrals: how often an update was put off so far.
        ever_active: which weights were active at any time, by name.
        explored: how many they are.
        optimizers: all that step weights, and those that they hold.
        owners: the layers that own the weights, by name.
        asked_for: names of weights whose exact name is included.
        left_dense: names of weights that were selected, but are not trained.
        before: the values of weights before they were drawn, by name, until a first gradient says that they train.
        handles: of hooks around the optimizers' steps.
    """

    def __init__(self, method: Method, prefix: str = "sparsity/") -> None:
        super().__init__()
        self.method, self.prefix = method, prefix
        self.averages = GradientAverages(method.gradient_momentum)
        self.total_steps = math.inf
        self.steps: list[int] = []
        self.held: list[dict[str, nn.Parameter]] = []
        self.deferred: list[bool] = []
        self.deferrals = 0
        self.ever_active: dict[str, Tensor] = {}
        self.explored = 0
        self.optimizers: list[Optimizer] = []
        self.asked_for: set[str] = set()
        self.left_dense: list[str] = []
        self.owners: dict[str, nn.Module] = {}
        self.before: dict[str, Tensor] = {}
        self.handles: list[RemovableHandle] = []

    # --- start ---------------------------------------------------------------------------------

    def plan(self, module: nn.Module, trained: Collection[int] | None = None) -> None:
        """Select the weights of a module, and say how many of each are to be active at the first step.

        Args:
            module: any module.
            trained: the ``id`` of each parameter that an optimizer holds. Others are left dense, unless their exact
                name is included. None does not ask.

        Raises:
            ValueError: nothing is left; and as the method does.
        """
        self.selected, self.left_dense = self.method.select(module), []
        self.owners = {name: module.get_submodule(name.rpartition(".")[0]) for name in self.selected}
        include = [self.method.include] if isinstance(self.method.include, str) else self.method.include
        self.asked_for = {name for name in self.selected if name in include}
        held = {name for name, weight in self.selected.items() if trained is None or id(weight.parameter) in trained}
        self.leave_dense([name for name in self.selected if name not in held | self.asked_for])

    def leave_dense(self, names: Collection[str]) -> None:
        """Leave out selected weights that nothing trains, and plan with the others.

        Raises:
            ValueError: nothing is left.
        """
        if names and len(names) == len(self.selected):
            raise ValueError(
                f"nothing trains the weights that {type(self.method).__name__} selects ({', '.join(names)}): give them "
                "to an optimizer in configure_optimizers and let the loss depend on them, or include others"
            )
        self.left_dense += names
        self.selected = {name: weight for name, weight in self.selected.items() if name not in names}
        self.weights = {name: weight.parameter for name, weight in self.selected.items()}
        budget = self.method.budget(self.selected)
        if self.method.masks_from is None or self.budget.keys() != budget.keys():
            self.budget = budget  # given masks may have brought another one in a fit before
        self.target = self.method.first_counts(self)

    def draw(self, look: FirstLook, given: Masks | None) -> None:
        """Draw the masks, or take those that are ``given``, and give the weights their first values."""
        self.before = {name: weight.detach().clone() for name, weight in self.weights.items()}
        masks = self.method.first_masks(self, look) if given is None else given
        self.masks = masks.to_match(self.weights)
        with torch.no_grad():
            self.method.initialize(self)

    def begin(self, optimizers: Sequence[Optimizer], *, scaled: bool) -> None:
        """Put the masks in force for the steps of these optimizers.

        Args:
            optimizers: all of them.
            scaled: gradients are scaled, and the scaler may leave a step out.

        Raises:
            ValueError: the masks have not the pattern of the method.
        """
        self.target = dict(self.method.expected_counts(self))
        self.masks.apply_to_weights(self.weights)
        self.held = [self.members(optimizer) for optimizer in optimizers]
        self.optimizers = [inner for optimizer in optimizers for inner in optimizers_within(optimizer)]
        for optimizer in optimizers:
            if type(optimizer) not in ENTRYWISE:
                self.handles.append(optimizer.register_step_post_hook(self.after_step))

    def enter_run(self, total_steps: float, *, fresh: bool) -> None:
        """Begin, or go on with, a run of so many optimizer steps.

        Args:
            total_steps: of each optimizer; infinite if the run has no end.
            fresh: the run begins: what was counted and averaged is forgotten.

        Raises:
            ValueError: the updates have no place in the run, or the method does not work on such weights.
        """
        self.total_steps = total_steps
        self.method.check_run(self, total_steps)
        if fresh:
            self.steps, self.deferred, self.deferrals = [0] * len(self.held), [False] * len(self.held), 0
            self.ever_active = {name: mask.clone() for name, mask in self.masks.items()}
            self.explored = sum(self.masks.counts.values())
            self.averages.clear(list(self.weights))

    def members(self, optimizer: Optimizer) -> dict[str, nn.Parameter]:
        """Return the weights that an optimizer steps."""
        members = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        return {name: weight for name, weight in self.weights.items() if id(weight) in members}

    def interrupt(self) -> None:
        """Leave the weights under the masks when a step is interrupted."""

    def release(self) -> None:
        """Let go of module and optimizers; masks, counts and memory stay."""
        for handle in self.handles:
            handle.remove()
        self.handles, self.optimizers, self.held = [], [], []
        self.selected, self.weights, self.owners, self.before = {}, {}, {}, {}

    # --- every optimizer step ------------------------------------------------------------------

    def new_masks(self, optimizer: Optimizer, index: int, step: int) -> dict[str, Tensor]:
        """Return the masks of an optimizer's weights that change after ``step`` of its steps; gradients are dense."""
        method, waiting = self.method, self.deferred[index]
        self.steps[index] = step + 1
        due = waiting or method.window.due(step, self.total_steps)
        averages = method.gradient_steps > 1 or self.averages.momentum is not None
        averaged = averages and method.averages_at(step, self.total_steps, waiting)
        if not self.held[index] or not (due or averaged):
            return {}
        weights = method.updatable(self.held, index, self.weights)
        finite = bool(weights) and self.is_finite(weights)
        if averaged and finite:
            self.averages.add({name: weight.grad for name, weight in weights.items() if weight.grad is not None})
        if not due:
            return {}
        self.deferred[index] = not finite
        if not finite:
            self.deferrals += 1
            return {}
        with torch.no_grad():
            moment = Moment(step, self.total_steps, lr_ratio_of(optimizer, self.held[index], weights))
            changed = method.new_masks(self, weights, moment)
        if averaged and self.averages.momentum is None:
            self.averages.clear(self.held[index])
        return changed

    @torch.no_grad()
    def exchange(self, changed: Mapping[str, Tensor], averages: Sequence[nn.Module]) -> int:
        """Put new masks in force and return how many weights grew: what changes starts from 0, optimizer state too.

        Args:
            changed: the new masks by name.
            averages: copies of the module that average its weights. They forget what the update drops, and average
                what it grows from 0 on.
        """
        before, stayed = self.masks.counts, []
        for name, mask in changed.items():
            same = mask == self.masks[name]
            stayed.append(same.count_nonzero())
            self.exchange_one(name, mask, same)
            for average in averages:
                weight = average.get_parameter(name)
                zero_inactive(weight, same.to(weight.device))
            self.ever_active[name] |= mask
        self.masks = self.masks.replace(changed)
        self.explored = sum(fetch(map(torch.count_nonzero, self.ever_active.values())))
        moved = -sum(fetch(stayed))
        for name, mask in changed.items():  # entries that moved were dropped or grown
            moved += mask.numel() + self.masks.counts[name] - before[name]
        return int(moved) // 2

    def exchange_one(self, name: str, mask: Tensor, same: Tensor) -> None:
        """Fit a weight to the ``mask`` that comes, of which only what is ``same`` stays as it was."""
        zero_inactive(self.weights[name], same)
        for optimizer in self.optimizers:
            clear_state(optimizer, self.weights[name], same)

    def before_step(self, index: int) -> None:
        """Let the optimizer of this index, which steps next, change only what it may."""
        self.masks.apply_to_gradients(self.held[index])

    def after_step(self, *_: object) -> None:
        """Put the weights back under the masks, whatever an optimizer has done to them."""
        self.masks.apply_to_weights(self.weights)

    def is_finite(self, weights: Mapping[str, nn.Parameter]) -> bool:
        """Return whether all that an update of these weights looks at are finite numbers."""
        tensors, sharded = [], False
        for weight in weights.values():
            tensors += [weight.detach()] if weight.grad is None else [weight.detach(), weight.grad]
            sharded = sharded or isinstance(weight, DTensor)
        if sharded:
            return agreed(all_finite(list(map(local_shard, tensors))), weights.values())
        return all_finite(tensors)

    def gradient_counts(self) -> dict[str, int]:
        """Return how many entries of each gradient the coming step uses."""
        counts = dict(self.masks.counts)
        for index, step in enumerate(self.steps):
            if self.method.needs_dense_gradients(step, self.total_steps, self.deferred[index]):
                counts.update({name: weight.numel() for name, weight in self.held[index].items()})
        return counts
