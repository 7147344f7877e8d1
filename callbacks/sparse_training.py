"""SparseTraining: owns the masks of a fit and keeps them true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from .checkpoint import STATE_KEY, VERSION, check_fit, check_writer, no_masks, read_masks
from .compatibility import (
    ENTRYWISE,
    check_averaging,
    check_equal_masks,
    check_optimizers,
    check_single_owner,
    check_strategy,
)
from .observer import MaskObserver, callbacks_of, log_metrics
from .sparsity import (
    ERK,
    Distribution,
    Initialization,
    Masks,
    SparseWeight,
    UnitScaled,
    generator_for,
    select,
)
from .sparsity.masks import clear_state, zero_inactive


class SparseTraining(pl.Callback):
    """Train any LightningModule with a fixed random mask (static sparse training).

    The module stays an ordinary dense one: a weight is sparse because its masked entries are exactly 0,
    after every optimizer step, with any optimizer. The masks live in this callback and in its part of the
    checkpoint. Subclasses change the masks during the fit.

    Logs ``sparsity/target`` and ``sparsity/actual``, measured on the weights, every
    ``Trainer(log_every_n_steps)`` steps.

    Args:
        sparsity: fraction of zeros over all selected weights, in [0, 1).
        distribution: how the sparsity differs from layer to layer.
        initialization: first values of the selected weights, given once when the masks are drawn. The
            default draws them anew; to start from loaded weights choose ``Dense()``.
        include: patterns of parameter names or layer classes to make sparse; see :func:`select`.
        exclude: patterns to leave dense.
        masks_from: masks to start with, or a checkpoint of an earlier sparse run that holds them, instead of
            ``sparsity`` and ``distribution``.
        seed: of the random masks and initial values. Give all ranks the same.

    Raises:
        ValueError: at construction, for a sparsity outside [0, 1). In ``setup``, when a pattern matches
            nothing, a layer would keep no weight, another callback owns masks too, or the strategy is not
            supported. When resuming, for a checkpoint without masks or with masks that do not fit.
        RuntimeError: during the fit, when the weights are not as sparse as they should be or the masks
            differ between ranks.

    Example:
        >>> pl.Trainer(callbacks=[SparseTraining(sparsity=0.9)])  # doctest: +SKIP
    """

    def __init__(
        self,
        sparsity: float = 0.9,
        *,
        distribution: Distribution = ERK(),
        initialization: Initialization = UnitScaled(),
        include: str | Sequence[str] = "*",
        exclude: str | Sequence[str] = (),
        masks_from: str | Path | Masks | None = None,
        seed: int = 0,
    ) -> None:
        if not 0 <= sparsity < 1:
            raise ValueError(f"sparsity is {sparsity}; it is a fraction of zeros in [0, 1)")
        self.sparsity = sparsity
        self.distribution = distribution
        self.initialization = initialization
        self.include = include
        self.exclude = exclude
        self.masks_from = masks_from
        self.seed = seed
        self.masks = Masks({})
        self._target: dict[str, int] = {}
        self._weights: dict[str, nn.Parameter] = {}
        self._weights_of: list[dict[str, nn.Parameter]] = []  # by optimizer
        self._steps: list[int] = []  # by optimizer; a single one has done trainer.global_step
        self._groups: list[int] = []  # parameter groups by optimizer
        self._checkpoint: Mapping[str, Any] | None = None
        self._handles: list[RemovableHandle] = []
        self._observers: list[MaskObserver] = []

    @property
    def state_key(self) -> str:
        """One key for the whole family, so that a run can go on with another method."""
        return STATE_KEY

    # --- start ---------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._checkpoint = None
        check_single_owner([callback for callback in callbacks_of(trainer) if isinstance(callback, SparseTraining)])
        check_strategy(trainer, type(self).__name__)
        check_averaging(callbacks_of(trainer), type(self).__name__)
        # a module may still build its layers in setup or configure_model: then on_fit_start is the first chance
        if not (is_overridden("setup", pl_module) or is_overridden("configure_model", pl_module)):
            self._plan(pl_module)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        check_optimizers(trainer, type(self).__name__)
        if trainer.ckpt_path and self._checkpoint is None:
            raise ValueError(no_masks(trainer.ckpt_path))
        selected, self._target = self._plan(pl_module)
        self._weights = {name: weight.parameter for name, weight in selected.items()}
        if self._checkpoint:
            self._load_state(self._checkpoint)
        elif self._fits(self.masks):
            self.masks = self._on_device(self.masks)  # a second fit of the same module goes on
        else:
            self._draw(trainer, pl_module, selected)
        counts = self.masks.counts
        self._target = self._wanted(counts)
        self._check_counts(counts, "the masks of the checkpoint" if self._checkpoint else "the masks")
        self.masks.apply_to_weights(self._weights)
        check_equal_masks(trainer, self.masks)
        self._weights_of = []
        for optimizer in trainer.optimizers:
            self._weights_of.append(self._members(optimizer))
            if type(optimizer) not in ENTRYWISE:
                self._handles.append(optimizer.register_step_post_hook(self._reapply))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0:
            self._steps = [0] * len(trainer.optimizers)
        self._observers = [callback for callback in callbacks_of(trainer) if isinstance(callback, MaskObserver)]
        self._groups = [len(optimizer.param_groups) for optimizer in trainer.optimizers]
        if len(self._steps) != len(trainer.optimizers):
            raise ValueError(
                f"the checkpoint counts the steps of {len(self._steps)} optimizers, but "
                f"{type(pl_module).__name__}.configure_optimizers made {len(trainer.optimizers)}"
            )

    def _plan(self, module: nn.Module) -> tuple[dict[str, SparseWeight], dict[str, int]]:
        """The selected weights and how many entries of each stay active."""
        selected = select(module, self.include, self.exclude)
        shapes = {name: weight.parameter.shape for name, weight in selected.items()}
        return selected, self.distribution(shapes, self.sparsity)

    def _wanted(self, counts: dict[str, int]) -> dict[str, int]:
        """How many weights of each layer should be active when a fit starts with masks that keep ``counts``."""
        return counts if self.masks_from is not None else self._target

    def _draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule, selected: Mapping[str, SparseWeight]) -> None:
        """Fresh masks and initial values."""
        if self.masks_from is not None:
            masks = self.masks_from if isinstance(self.masks_from, Masks) else read_masks(self.masks_from)
            check_fit(masks, self._weights, f"masks_from {str(self.masks_from)!r}")
        else:
            masks = self.first_masks(trainer, pl_module)
        self.masks = self._on_device(masks)
        with torch.no_grad():
            for index, (name, weight) in enumerate(selected.items()):
                generator = generator_for(self.seed, -1, index)
                weight.parameter.copy_(self.initialization(weight, self.masks[name], generator))

    def first_masks(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Masks:
        """The masks a fresh fit starts with; weights are still those of the module."""
        shapes = {name: weight.shape for name, weight in self._weights.items()}
        return Masks.random(shapes, self._target, seed=self.seed)

    def _fits(self, masks: Masks) -> bool:
        """Whether these masks are already in force on the module; masks of another module are forgotten.

        Raises:
            ValueError: they are of this shape, but the weights have been changed since.
        """
        ours = {name: weight.shape for name, weight in self._weights.items()}
        if not masks or {name: mask.shape for name, mask in masks.items()} != ours:
            return False
        leaks = self._leaks(self._on_device(masks))
        inactive = masks.size - sum(masks.counts.values())
        if 0 < leaks < inactive / 2:
            raise ValueError(
                f"{type(self).__name__} holds masks of an earlier fit, but {leaks} of {inactive} masked weights are no "
                "longer 0: load the weights that belong to the masks, resume with ckpt_path, or make a new callback"
            )
        return inactive > 0 and leaks == 0

    def _on_device(self, masks: Masks) -> Masks:
        return masks.to({name: weight.device for name, weight in self._weights.items()})

    def _members(self, optimizer: Optimizer) -> dict[str, nn.Parameter]:
        """The sparse weights that an optimizer steps."""
        members = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        return {name: weight for name, weight in self._weights.items() if id(weight) in members}

    def _reapply(self, *_: object) -> None:
        self.masks.apply_to_weights(self._weights)

    # --- every optimizer step -------------------------------------------------------------------

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        index = trainer.optimizers.index(optimizer)
        step = trainer.global_step if len(trainer.optimizers) == 1 else self._steps[index]
        self._steps[index] = step + 1
        if len(optimizer.param_groups) != self._groups[index]:  # finetuning adds groups as it unfreezes layers
            self._groups[index] = len(optimizer.param_groups)
            self._weights_of[index] = self._members(optimizer)
        for observer in self._observers:
            observer.on_dense_gradients(trainer, pl_module, optimizer, self.masks)
        before = self.masks
        self.update(trainer, pl_module, optimizer, step)
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning does not declare it
        if self.masks is not before or (every and step % every == 0):
            self._report(trainer)
        self.before_step(self._weights_of[index])

    def before_step(self, weights: Mapping[str, nn.Parameter]) -> None:
        """Let the optimizer, which steps next, change only what it may."""
        self.masks.apply_to_gradients(weights)

    def update(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer, step: int) -> None:
        """Change the masks of this optimizer's weights if that is due after ``step`` steps; gradients are dense."""

    def change_masks(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        optimizer: Optimizer,
        changed: Mapping[str, Tensor],
    ) -> None:
        """Put new masks in force: entries that change start from 0, weight and optimizer state alike."""
        for observer in self._observers:
            observer.on_before_mask_update(trainer, pl_module, self.masks)
        kept = 0
        with torch.no_grad():
            for name, mask in changed.items():
                same = mask == self.masks[name]
                kept += int((mask & same).count_nonzero())
                self.exchange(optimizer, name, mask, same)
        self.masks = self.masks.replace(changed)
        active = sum(self.masks.counts[name] for name in changed)
        check_equal_masks(trainer, self.masks)
        for observer in self._observers:
            observer.on_after_mask_update(trainer, pl_module, self.masks)
        log_metrics(trainer, {"sparsity/churn": 1 - kept / active if active else 0.0})

    def exchange(self, optimizer: Optimizer, name: str, mask: Tensor, same: Tensor) -> None:
        """Fit a weight to the ``mask`` that comes, of which only what is ``same`` stays as it was."""
        zero_inactive(self._weights[name], same)
        clear_state(optimizer, self._weights[name], same)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._report(trainer)

    # --- measured against wanted ----------------------------------------------------------------

    def _report(self, trainer: pl.Trainer) -> None:
        """Log target and measured sparsity; they must agree to the weight."""
        size, wanted = self.masks.size, sum(self._target.values())
        counts, leaks = self.masks.counts, self._leaks(self.masks)
        actual = sum(counts.values()) + leaks
        log_metrics(trainer, {"sparsity/target": 1 - wanted / size, "sparsity/actual": 1 - actual / size})
        if leaks:
            raise RuntimeError(
                f"{leaks} weights outside the masks are not 0 at step {trainer.global_step} (sparsity "
                f"{1 - actual / size:.6f} instead of {1 - wanted / size:.6f}): something other than a step of the "
                "Trainer's optimizers writes to the weights, or to gradients after they were masked"
            )
        self._check_counts(counts, f"the masks at step {trainer.global_step}")

    def _leaks(self, masks: Masks) -> int:
        """Number of weights outside the masks that are not 0."""
        return int(sum((self._weights[name].bool() > mask).count_nonzero() for name, mask in masks.items()))

    def _check_counts(self, counts: Mapping[str, int], what: str) -> None:
        for name, count in counts.items():
            if count != self._target[name]:
                raise ValueError(
                    f"{what} keep {count} weights in {name!r}, but {type(self).__name__}(sparsity={self.sparsity}, "
                    f"distribution={self.distribution}) keeps {self._target[name]}: use the arguments of the run "
                    "they come from"
                )

    # --- checkpoint -----------------------------------------------------------------------------

    # Written by on_save_checkpoint rather than state_dict, so that a second owner is refused by
    # check_single_owner, whose message helps, and not by the Trainer's own check.
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint.setdefault("callbacks", {})[STATE_KEY] = self._state()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        if STATE_KEY not in checkpoint.get("callbacks", {}):
            raise ValueError(no_masks(trainer.ckpt_path))
        state = checkpoint["callbacks"][STATE_KEY]
        self._checkpoint = state if state["masks"] else {}  # saved before the masks were drawn

    def _state(self) -> dict[str, Any]:
        """Tensors and plain values only."""
        return {"version": VERSION, "seed": self.seed, "steps": list(self._steps), "masks": self.masks.state_dict()}

    def _load_state(self, state: Mapping[str, Any]) -> None:
        check_writer(state, self.seed)
        masks = Masks.from_state_dict(state["masks"])
        check_fit(masks, self._weights, "the checkpoint")
        self.masks = self._on_device(masks)
        self._steps = list(state["steps"])

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._weights, self._weights_of, self._observers = [], {}, [], []
        self._checkpoint = None
