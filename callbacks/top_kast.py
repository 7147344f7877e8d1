"""TopKAST: weights outside the mask train too, and come in when they are large."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .periodic import PeriodicUpdates, all_finite
from .sparsity import Dense, Initialization, Masks, SparseWeight, UpdateWindow, top_k
from .sparsity.masks import clear_state, zero_inactive


class TopKAST(PeriodicUpdates):
    """Keep the largest weights of each layer active, and train those next in size behind the scenes.

    The forward pass sees the set A, the largest magnitudes of each layer; the optimizer moves a wider set B with the
    dense gradient, momentum and weight decay included. At every update A and B are chosen anew by magnitude.
    Weights outside A are exactly 0 in the module: their values wait in ``reservoir``, come back for the time between
    ``on_before_optimizer_step`` and the end of the optimizer's step, and leave again, so that forward passes,
    validation and checkpoints see A alone. Weights outside B keep the value they have.

    Two promises of the other methods therefore read differently: a weight that becomes active comes with the value
    it has in the reservoir, not with 0; and optimizer state is cleared where a weight leaves B, not A. When the window
    ends no weight can become active any more: B shrinks to A and the reservoir is given up.

    An update comes before the optimizer's step, so A follows the weights with one step of delay. A weight that goes on
    from another method's checkpoint finds an empty reservoir.

    Args:
        sparsity: fraction of zeros in the forward pass, over all selected weights, in [0, 1).
        exploration: share of all weights that are trained besides the active ones (M of the paper), in [0, 1];
            the backward pass has sparsity ``sparsity - exploration``, or 0.
        regularization: factor of the exploration loss, 0 or more. That is the sum of magnitudes over A plus the one
            over the rest of B, the latter divided by the density of the layer. Its gradient is added to that of the
            loss, before clipping; the loss that the module reports is without it.
        window: when to choose A and B anew.
        initialization: as in :class:`SparseTraining`, of A; all others keep the values the module has.
        static: the other arguments of :class:`SparseTraining`.

    Raises:
        ValueError: ``exploration`` or ``regularization`` is out of range; and as :class:`SparseTraining`.

    Reference:
        Jayakumar et al. 2020, "Top-KAST: Top-K Always Sparse Training", whose ResNet-50 with 90 % (80 %) sparsity has
        exploration 0.1 (0.3). The authors keep the reservoir and the choice of A off the accelerator and the backward
        pass sparse; here, as everywhere in this project, gradients are dense and the gain is in what is learned.

    Example:
        >>> TopKAST(0.8, exploration=0.3).window
        UpdateWindow(every=100, start=0.0, stop=1.0)
    """

    def __init__(
        self,
        sparsity: float = 0.9,
        *,
        exploration: float = 0.1,
        regularization: float = 1e-4,
        window: UpdateWindow = UpdateWindow(stop=1.0),
        initialization: Initialization = Dense(),
        **static: Any,
    ) -> None:
        super().__init__(sparsity, window=window, initialization=initialization, **static)
        if not 0 <= exploration <= 1:
            raise ValueError(f"exploration is {exploration}; it is a share of all weights in [0, 1]")
        if not 0 <= regularization < math.inf:
            raise ValueError(f"regularization is {regularization}; it is a factor of 0 or more")
        self.exploration = exploration
        self.regularization = regularization
        self.backward_masks = Masks({})  # B
        self.reservoir: dict[str, Tensor] = {}  # values outside A, 0 in A; without it B is A
        self._wider: dict[str, int] = {}  # entries of B
        self._waiting: dict[str, nn.Parameter] = {}  # for the optimizer to begin its step
        self._inside: dict[str, nn.Parameter] = {}  # weights that hold all of B at the moment
        self._scaled = False

    # --- start ---------------------------------------------------------------------------------

    def _plan(self, module: nn.Module) -> tuple[dict[str, SparseWeight], dict[str, int]]:
        selected, active = super()._plan(module)
        shapes = {name: weight.parameter.shape for name, weight in selected.items()}
        self._wider = self.distribution(shapes, max(self.sparsity - self.exploration, 0.0))
        return selected, active

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        self._scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        for optimizer in trainer.optimizers:
            self._handles.append(optimizer.register_step_pre_hook(self._put_in))
            self._handles.append(optimizer.register_step_post_hook(self._take_out))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if trainer.global_step == 0 and not self.reservoir:  # a second fit explores again
            self._explore(self._weights)

    def first_masks(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Masks:
        return Masks({name: _largest(weight, self._target[name]) for name, weight in self._weights.items()})

    def _draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        dense = {name: weight.detach().clone() for name, weight in self._weights.items()}
        super()._draw(trainer, pl_module)
        self._explore(dense)

    @torch.no_grad()
    def _explore(self, values: Mapping[str, Tensor]) -> None:
        """Start with these values in the reservoir."""
        self.reservoir = {name: value.masked_fill(self.masks[name], 0) for name, value in values.items()}
        self.backward_masks = Masks({name: self._backward(name, mask) for name, mask in self.masks.items()})

    # --- A and B -------------------------------------------------------------------------------

    def _values(self, name: str) -> Tensor:
        """All values of a weight, active or not."""
        return torch.where(self.masks[name], self._weights[name].detach(), self.reservoir[name])

    def _backward(self, name: str, mask: Tensor) -> Tensor:
        """B: what is in ``mask``, and the largest of the others."""
        others = max(self._wider[name] - int(mask.count_nonzero()), 0)
        return mask | top_k(self._values(name).abs(), others, ~mask)

    def gradient_counts(self) -> Mapping[str, int]:
        return self.backward_masks.counts

    def update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer, step: int
    ) -> dict[str, Tensor]:
        changed = super().update(trainer, pl_module, optimizer, step)
        if not changed and self.reservoir and self.window.progress(step, self._total_steps) >= 1:
            for name, weight in self._members(optimizer).items():
                self.reservoir.pop(name, None)
                clear_state(optimizer, weight, self.masks[name])
            # A, or B where another optimizer goes on
            self.backward_masks = self.masks.replace({name: self.backward_masks[name] for name in self.reservoir})
        return changed

    def _finite(self, weights: Mapping[str, nn.Parameter]) -> bool:
        waiting = (self.reservoir[name] for name in weights if name in self.reservoir)
        return super()._finite(weights) and all_finite(waiting)

    @torch.no_grad()
    def new_masks(self, optimizer: Optimizer, weights: Mapping[str, nn.Parameter], step: int) -> dict[str, Tensor]:
        exploring = [name for name in weights if name in self.reservoir]
        active = {name: _largest(self._values(name), self._target[name]) for name in exploring}
        wider = {name: self._backward(name, mask) for name, mask in active.items()}
        self.backward_masks = self.backward_masks.replace(wider)
        return active

    def exchange(self, optimizer: Optimizer, name: str, mask: Tensor, same: Tensor) -> None:
        values = self._values(name)
        self._weights[name].copy_(values.masked_fill(~mask, 0))
        self.reservoir[name] = values.masked_fill(mask, 0)
        clear_state(optimizer, self._weights[name], self.backward_masks[name])

    # --- every optimizer step ------------------------------------------------------------------

    @torch.no_grad()
    def before_step(self, weights: Mapping[str, nn.Parameter]) -> None:
        for name, weight in weights.items():
            if weight.grad is not None and self.regularization:
                weight.grad.add_(weight.sign(), alpha=self.regularization)  # 0 outside A
                if name in self.reservoir:
                    density = self._target[name] / weight.numel()
                    weight.grad.add_(self.reservoir[name].sign(), alpha=self.regularization / density)
        self.backward_masks.apply_to_gradients(weights)
        self._waiting = {name: weight for name, weight in weights.items() if name in self.reservoir}
        if not self._scaled:  # a gradient scaler may leave the step out; then the optimizer tells when it begins
            self._put_in()

    @torch.no_grad()
    def _put_in(self, *_: object) -> None:
        for name, weight in self._waiting.items():
            weight.copy_(torch.where(self._explored_by(name), self.reservoir[name], weight))
        self._inside, self._waiting = self._inside | self._waiting, {}

    @torch.no_grad()
    def _take_out(self, *_: object) -> None:
        for name, weight in self._inside.items():
            self.reservoir[name] = torch.where(self._explored_by(name), weight, self.reservoir[name])
            zero_inactive(weight, self.masks[name])
        self._inside = {}

    def _explored_by(self, name: str) -> Tensor:
        """B without A."""
        return self.backward_masks[name] & ~self.masks[name]

    def _reapply(self, *_: object) -> None:
        self._take_out()
        super()._reapply()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._take_out()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._waiting = {}
        super().teardown(trainer, pl_module, stage)

    # --- checkpoint ----------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        reservoir = {name: values.cpu() for name, values in self.reservoir.items()}
        return {**super()._state(), "reservoir": reservoir, "backward": self.backward_masks.state_dict()}

    def _load_state(self, state: Mapping[str, Any]) -> None:
        super()._load_state(state)
        if "reservoir" not in state:
            self._explore({name: torch.zeros_like(weight) for name, weight in self._weights.items()})
            return
        self.reservoir = {name: values.to(self._weights[name].device) for name, values in state["reservoir"].items()}
        self.backward_masks = Masks.from_state_dict(state["backward"]).beside(self._weights)


def _largest(weight: Tensor, count: int) -> Tensor:
    magnitude = weight.detach().abs()
    return top_k(magnitude, count, torch.ones_like(magnitude, dtype=torch.bool))
