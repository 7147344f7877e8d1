"""ReservoirPart: weights outside the masks train too, and wait in a reservoir where nobody sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..methods import FirstLook, Method, TopKAST
from ..methods.top_kast import all_values
from ..sparsity import Masks
from ..sparsity.masks.optimizer_state import clear_state
from ..sparsity.masks.zeros import all_finite, zero_inactive
from .part import Part


class ReservoirPart(Part):
    """A part of :class:`callbacks.methods.TopKAST`: two sets of weights, A inside B.

    A are the masks. The optimizer moves B, ``memory["trained"]``: for its step the values of B without A come out of
    ``memory["reservoir"]`` into the module, and go back after it.

    Args:
        method: what decides about A and B.
    """

    method: TopKAST

    def __init__(self, method: TopKAST, prefix: str = "sparsity/") -> None:
        super().__init__(method, prefix)
        self._scaled = False
        self._waiting: list[str] = []  # names of weights that wait for the optimizer to begin its step
        self._inside: list[str] = []  # names of weights that hold all of B at the moment

    @property
    def reservoir(self) -> dict[str, Tensor]:
        """The values outside A, by parameter name, 0 in A; of a weight that has none, B is A."""
        return self.memory.get("reservoir", {})

    @property
    def trained(self) -> dict[str, Tensor]:
        """The masks of B."""
        return self.memory.get("trained", {})

    def draw(self, look: FirstLook, given: Masks | None) -> None:
        super().draw(look, given)
        self._explore(self.before)

    def enter_run(self, total_steps: float, *, fresh: bool) -> None:
        super().enter_run(total_steps, fresh=fresh)
        if fresh and not self.reservoir:  # a second fit explores again
            self._explore(self.weights)

    @torch.no_grad()
    def _explore(self, values: Mapping[str, Tensor]) -> None:
        """Start with these values in the reservoir."""
        self.memory["reservoir"] = {name: value.masked_fill(self.masks[name], 0) for name, value in values.items()}
        self.memory["trained"] = self.method.trained(self, self.masks)

    def begin(self, optimizers: Sequence[Optimizer], *, scaled: bool) -> None:
        super().begin(optimizers, scaled=scaled)
        self._scaled, self._waiting, self._inside = scaled, [], []
        if not self.memory:  # another method's checkpoint has no reservoir
            self._explore({name: torch.zeros_like(weight) for name, weight in self.weights.items()})
        for optimizer in optimizers:
            self.handles.append(optimizer.register_step_pre_hook(self._put_in))
            self.handles.append(optimizer.register_step_post_hook(self._take_out))

    # --- every optimizer step ------------------------------------------------------------------

    def new_masks(self, optimizer: Optimizer, index: int, step: int) -> dict[str, Tensor]:
        changed = super().new_masks(optimizer, index, step)
        if not changed and self.reservoir and self.method.gives_up(step, self.total_steps):
            for name, weight in self.held[index].items():
                self.reservoir.pop(name, None)
                for holding in self.optimizers:
                    clear_state(holding, weight, self.masks[name])
                self.trained[name] = self.masks[name]
        return changed

    def is_finite(self, weights: Mapping[str, nn.Parameter]) -> bool:
        waiting = [self.reservoir[name] for name in weights if name in self.reservoir]
        return super().is_finite(weights) and all_finite(waiting)

    def exchange_one(self, name: str, mask: Tensor, same: Tensor) -> None:
        values = all_values(self, name)
        self.weights[name].copy_(values.masked_fill(~mask, 0))
        self.reservoir[name] = values.masked_fill(mask, 0)
        for optimizer in self.optimizers:
            clear_state(optimizer, self.weights[name], self.trained[name])

    @torch.no_grad()
    def before_step(self, index: int) -> None:
        factor = self.method.regularization
        for name, weight in self.held[index].items():
            if weight.grad is None:
                continue
            if factor:
                weight.grad.add_(weight.sign(), alpha=factor)  # 0 outside A
            if factor and name in self.reservoir:
                density = self.target[name] / weight.numel()
                weight.grad.add_(self.reservoir[name].sign(), alpha=factor / density)
            zero_inactive(weight.grad, self.trained[name])
        inside = set(self._inside)  # when the gradients of one step are complete for a second time
        self._waiting = [name for name in self.held[index] if name in self.reservoir and name not in inside]
        if not self._scaled:  # a gradient scaler may leave the step out; then the optimizer tells when it begins
            self._put_in()

    def after_step(self, *_: object) -> None:
        self._take_out()
        super().after_step()

    @torch.no_grad()
    def _put_in(self, *_: object) -> None:
        for name in self._waiting:
            weight, outside = self.weights[name], self.trained[name] & ~self.masks[name]
            weight.copy_(torch.where(outside, self.reservoir[name], weight))
        self._inside, self._waiting = self._inside + self._waiting, []

    @torch.no_grad()
    def _take_out(self, *_: object) -> None:
        for name in self._inside:
            weight, outside = self.weights[name], self.trained[name] & ~self.masks[name]
            self.reservoir[name] = torch.where(outside, weight, self.reservoir[name])
            zero_inactive(weight, self.masks[name])
        self._inside, self._waiting = [], []

    interrupt = _take_out

    def gradient_counts(self) -> dict[str, int]:
        return dict(Masks(self.trained).counts)


def part_of(method: Method, prefix: str) -> Part:
    """Return a part for a method, with a reservoir if the method needs one."""
    return ReservoirPart(method, prefix) if isinstance(method, TopKAST) else Part(method, prefix)
