"""Part: weights that one method makes sparse, with their masks in force. It needs no Trainer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from .methods import FirstLook, Layers, Method, Moment
from .sparsity import GradientAverages, Masks
from .sparsity.masks import clear_state, zero_inactive
from .sparsity.packing import pack, unpack
from .sparsity.sharding import agreed, all_zero, here
from .sparsity.transfer import fetch, norms_of

# Optimizers that leave a weight at 0 while its gradient and state are 0. After a step of any other, which may
# mix entries, the masks are applied again.
ENTRYWISE = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.Adagrad,
    torch.optim.Adadelta,
)


class Part(Layers):
    """The weights of a module that one method makes sparse, for as long as their masks are in force.

    A method decides; a part does what it says: it draws the masks, zeroes what is inactive, exchanges connections, and
    keeps count. A training loop calls, for every optimizer step, :meth:`new_masks` and :meth:`exchange` when gradients
    are complete, :meth:`before_step`, the optimizer, and nothing else as long as the optimizer treats each entry by
    itself.

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
        self.handles: list[RemovableHandle] = []

    # --- start ---------------------------------------------------------------------------------

    def plan(self, module: nn.Module) -> None:
        """Select the weights of a module, and say how many of each are to be active at the first step."""
        self.select(self.method.select(module))
        budget = self.method.budget(self.selected)
        if self.method.masks_from is None or self.budget.keys() != budget.keys():
            self.budget = budget  # given masks may have brought another one in a fit before
        self.target = self.method.first_counts(self)

    def draw(self, look: FirstLook, given: Masks | None) -> None:
        """Draw the masks, or take those that are ``given``, and give the weights their first values."""
        masks = self.method.first_masks(self, look) if given is None else given
        self.masks = masks.beside(self.weights)
        with torch.no_grad():
            self.method.initialize(self)

    def begin(self) -> None:
        """Put the masks in force for a fit.

        Raises:
            ValueError: the masks have not the pattern of the method.
        """
        self.target = dict(self.method.expected_counts(self))
        self.masks.apply_to_weights(self.weights)

    def enter_run(self, total_steps: float, *, optimizers: int, fresh: bool) -> None:
        """Begin, or go on with, a run of so many optimizer steps, stepped by so many optimizers.

        Args:
            total_steps: of each optimizer; infinite if the run has no end.
            optimizers: how many there are.
            fresh: the run begins: what was counted and averaged is forgotten.

        Raises:
            ValueError: the updates have no place in the run, or the method does not work on such weights.
        """
        self.total_steps = total_steps
        self.method.check_run(self, total_steps)
        if fresh:
            self.steps, self.deferred, self.deferrals = [0] * optimizers, [False] * optimizers, 0
            self.ever_active = {name: mask.clone() for name, mask in self.masks.items()}
            self.averages.clear(list(self.weights))

    def members(self, optimizer: Optimizer) -> dict[str, nn.Parameter]:
        """Return the weights that an optimizer steps."""
        members = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        return {name: weight for name, weight in self.weights.items() if id(weight) in members}

    def watch(self, optimizers: Sequence[Optimizer], *, scaled: bool) -> None:
        """Note which optimizer holds which weights; ``scaled``: a gradient scaler may leave a step out."""
        self.held = [self.members(optimizer) for optimizer in optimizers]
        for optimizer in optimizers:
            if type(optimizer) not in ENTRYWISE:
                self.handles.append(optimizer.register_step_post_hook(self.after_step))

    def interrupt(self) -> None:
        """Leave the weights under the masks when a step is interrupted."""

    def release(self) -> None:
        """Let go of module and optimizers; masks, counts and memory stay."""
        for handle in self.handles:
            handle.remove()
        self.handles, self.selected, self.weights, self.held = [], {}, {}, []

    # --- every optimizer step ------------------------------------------------------------------

    def new_masks(self, optimizer: Optimizer, index: int, step: int) -> dict[str, Tensor]:
        """Return the masks of an optimizer's weights that change after ``step`` of its steps; gradients are dense."""
        method, held, waiting = self.method, self.held[index], self.deferred[index]
        self.steps[index] = step + 1
        due = waiting or method.due(step, self.total_steps)
        averaged = method.averages_at(step, self.total_steps, waiting)
        if not held or not (due or averaged):
            return {}
        weights = method.updatable(held, self._unheld(index))
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
            changed = method.new_masks(
                self, weights, Moment(step, self.total_steps, lr_ratio(optimizer, weights, held))
            )
        if self.averages.momentum is None:
            self.averages.clear(held)
        return changed

    @torch.no_grad()
    def exchange(self, optimizer: Optimizer, changed: Mapping[str, Tensor], averages: Sequence[nn.Module]) -> int:
        """Put new masks in force and return how many weights grew: what changes starts from 0, optimizer state too.

        Args:
            optimizer: the one that holds these weights.
            changed: the new masks by name.
            averages: copies of the module that average its weights. They forget what the update drops, and average
                what it grows from 0 on.
        """
        before, stayed = self.masks.counts, []
        for name, mask in changed.items():
            same = mask == self.masks[name]
            stayed.append(same.count_nonzero())
            self.exchange_one(optimizer, name, mask, same)
            for average in averages:
                weight = average.get_parameter(name)
                zero_inactive(weight, same.to(weight.device))
        self.masks = self.masks.replace(changed).beside(self.weights)
        moved = sum(mask.numel() for mask in changed.values()) - sum(fetch(stayed))  # dropped or grown
        for name, mask in changed.items():
            moved += self.masks.counts[name] - before[name]
            self.ever_active[name] |= mask
        return int(moved) // 2

    def exchange_one(self, optimizer: Optimizer, name: str, mask: Tensor, same: Tensor) -> None:
        """Fit a weight to the ``mask`` that comes, of which only what is ``same`` stays as it was."""
        zero_inactive(self.weights[name], same)
        clear_state(optimizer, self.weights[name], same)

    def before_step(self, index: int) -> None:
        """Let the optimizer of this index, which steps next, change only what it may."""
        self.masks.apply_to_gradients(self.held[index])

    def after_step(self, *_: object) -> None:
        """Put the weights back under the masks, whatever an optimizer has done to them."""
        self.masks.apply_to_weights(self.weights)

    def _unheld(self, index: int) -> dict[str, nn.Parameter]:
        """Return the weights that no optimizer holds, for the first optimizer that holds any."""
        if any(self.held[:index]):
            return {}
        names = {name for held in self.held for name in held}
        return {name: weight for name, weight in self.weights.items() if name not in names}

    def is_finite(self, weights: Mapping[str, nn.Parameter]) -> bool:
        """Return whether all that an update of these weights looks at are finite numbers."""
        tensors = [here(t.detach()) for weight in weights.values() for t in (weight, weight.grad) if t is not None]
        return agreed(all_finite(tensors), weights.values())

    # --- what is counted -----------------------------------------------------------------------

    def gradient_counts(self) -> dict[str, int]:
        """Return how many entries of each gradient the coming step uses."""
        counts = dict(self.masks.counts)
        for index, step in enumerate(self.steps):
            if self.method.needs_dense_gradients(step, self.total_steps, self.deferred[index]):
                counts.update({name: weight.numel() for name, weight in self.held[index].items()})
        return counts

    def explored(self) -> int:
        """Return how many weights were ever active."""
        return sum((Masks(self.ever_active) if self.ever_active else self.masks).counts.values())

    def dead_units(self) -> dict[str, int]:
        """Return how many output units of each weight have no active connection."""
        units = fetch(weight.unconnected(self.masks[name]) for name, weight in self.selected.items())
        return dict(zip(self.selected, units, strict=True))

    def all_zero(self, names: Iterable[str]) -> list[str]:
        """Return which of these weights, as far as they are of this part, are 0 in all entries."""
        return all_zero({name: self.weights[name] for name in names if name in self.weights})

    def measure(self) -> tuple[dict[str, float], int]:
        """Return the sparsity that is wanted and the one that is measured, and how many inactive weights are not 0."""
        leaks, size = self.masks.leaks(self.weights), self.masks.size
        actual = sum(self.masks.counts.values()) + leaks
        target = sum(self.target.values())
        return {f"{self.prefix}target": 1 - target / size, f"{self.prefix}actual": 1 - actual / size}, leaks

    def measure_update(self) -> dict[str, float]:
        """Return what is logged after an update of this part's masks."""
        values = {f"{self.prefix}explored": self.explored() / self.masks.size}
        if self.method.ablates:
            neurons = sum(layer.neurons for layer in self.selected.values())
            values[f"{self.prefix}ablated"] = 1 - (neurons - sum(self.dead_units().values())) / neurons
        return values

    def check_counts(self, what: str) -> None:
        """Refuse masks with another number of active weights than there is to be; ``what`` they are.

        Raises:
            ValueError: a count differs.
        """
        for name, count in self.masks.counts.items():
            if count != self.target[name]:
                method = self.method
                raise ValueError(
                    f"{what} keep {count} weights in {name!r}, but {type(method).__name__}(sparsity={method.sparsity}, "
                    f"distribution={method.distribution}) keeps {self.target[name]}: use the arguments of the run "
                    "they come from"
                )

    # --- checkpoint ----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return what a part is besides its masks: tensors and plain values only."""
        memory = {kind: {name: t.cpu() for name, t in tensors.items()} for kind, tensors in self.memory.items()}
        kept = self.method.saves_budget_as
        return {
            "seed": self.method.seed,
            **({kept: dict(self.budget)} if kept else {}),
            "deferred": list(self.deferred),
            "deferrals": self.deferrals,
            "explored": {name: pack(mask).cpu() for name, mask in self.ever_active.items()},
            "averages": self.averages.state_dict(),
            "memory": memory,
        }

    def load_state_dict(self, state: Mapping[str, Any], masks: Masks, steps: Sequence[int]) -> None:
        """Go on from a checkpoint's state and masks, which may be those of another method, and from so many steps."""
        devices = {name: weight.device for name, weight in self.weights.items()}
        self.masks = masks.beside(self.weights)
        self.budget = self.method.resume_budget(self, state.get(self.method.saves_budget_as))
        self.steps = list(steps)
        self.deferred = list(state.get("deferred", [False] * len(steps)))
        self.deferrals = int(state.get("deferrals", 0))
        # a static run, going on as one whose masks move, has explored what it has
        explored = state.get("explored", {})
        self.ever_active = {
            name: (unpack(explored[name], mask.shape) if explored else mask).to(devices[name], copy=True)
            for name, mask in masks.items()
        }
        self.averages.load_state_dict(state.get("averages", {"values": {}, "added": {}}), devices)
        self.memory = {
            kind: {name: tensor.to(devices[name]) for name, tensor in tensors.items()}
            for kind, tensors in state.get("memory", {}).items()
        }


def lr_ratio(optimizer: Optimizer, weights: Mapping[str, nn.Parameter], held: Mapping[str, nn.Parameter]) -> float:
    """Return the learning rate of the first of ``weights`` that is ``held``, over the highest one it ever has.

    The highest is that of a one-cycle schedule, or else the initial one.
    """
    first = next(weight for name, weight in weights.items() if name in held)
    group = next(group for group in optimizer.param_groups if any(p is first for p in group["params"]))
    highest = float(group.get("max_lr", group.get("initial_lr", group["lr"])))
    return min(float(group["lr"]) / highest, 1.0) if highest else 1.0


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Return whether all entries are finite numbers."""
    # a norm passes NaN and infinity on; it may also overflow, so that a second look decides
    return all(map(math.isfinite, fetch(norms_of(tensors)))) or all(fetch(t.isfinite().all() for t in tensors))
