"""MaskOwner: what every callback does that holds the masks of a fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from .checkpoint import STATE_KEY, VERSION, check_fit, check_writer, no_masks
from .compatibility import (
    ENTRYWISE,
    check_equal_masks,
    check_equal_settings,
    check_optimizers,
    check_shards,
    check_single_owner,
    check_strategy,
)
from .observer import MaskObserver, callbacks_of, log_metrics
from .processes import Returning
from .progress import ExactResume
from .settings import settings_of
from .sparsity import Masks, SparseWeight
from .sparsity.masks import clear_state, count_outside, zero_inactive
from .sparsity.sharding import all_zero
from .sparsity.transfer import fetch
from .weight_averages import averaged_leaks, forget


def mask_owner(trainer: pl.Trainer) -> MaskOwner | None:
    """The callback that holds the masks, if there is one."""
    return next((callback for callback in callbacks_of(trainer) if isinstance(callback, MaskOwner)), None)


def masks_of(trainer: pl.Trainer) -> Masks:
    """The masks of a fit; none of a dense one."""
    owner = mask_owner(trainer)
    return owner.masks if owner else Masks({})


class MaskOwner(Returning, ABC):
    """Keeps the masks of a fit true, checkpoints them and says how sparse the weights are; not a method itself.

    Which weights are masked, and how, is up to subclasses: :class:`SparseTraining` is one method for all of them,
    :class:`SparseGroups` several methods for parts of the network.
    """

    seed: int = 0

    def __init__(self) -> None:
        self.masks = Masks({})
        self._prefix = "sparsity/"  # of what it logs
        self._target: dict[str, int] = {}
        self._selected: dict[str, SparseWeight] = {}
        self._weights: dict[str, nn.Parameter] = {}  # of those selected
        self._weights_of: list[dict[str, nn.Parameter]] = []  # by optimizer
        self._steps: list[int] = []  # by optimizer; a single one has done trainer.global_step
        self._groups: list[int] = []  # parameter groups by optimizer
        self._checkpoint: Mapping[str, Any] | None = None
        self._handles: list[RemovableHandle] = []
        self._observers: list[MaskObserver] = []
        self._resume = ExactResume()
        self._begun = True  # but in a fit whose checkpoint is read after on_fit_start
        self._dead: set[str] = set()  # weights that are known to be all 0
        self._missing = ""  # why the masks of the last fit are not here, if they are not

    @property
    def state_key(self) -> str:
        """One key for the whole family, so that a run can go on with another method."""
        return STATE_KEY

    @property
    def settings(self) -> str:
        """Class and arguments, equal in every process that was given the same."""
        return settings_of(self)

    # --- what subclasses say ---------------------------------------------------------------------

    @abstractmethod
    def _plan(self, module: nn.Module) -> tuple[dict[str, SparseWeight], dict[str, int]]:
        """The selected weights and how many entries of each stay active."""

    @abstractmethod
    def _wanted(self, counts: dict[str, int]) -> dict[str, int]:
        """How many weights of each layer should be active when a fit starts with masks that keep ``counts``."""

    @abstractmethod
    def _draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fresh masks and initial values."""

    @abstractmethod
    def _check_counts(self, counts: Mapping[str, int], what: str) -> None:
        """Refuse other counts of active weights than those wanted; ``what`` has them.

        Raises:
            ValueError: a count differs.
        """

    # --- start ---------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._checkpoint = None
        check_single_owner([callback for callback in callbacks_of(trainer) if isinstance(callback, MaskOwner)])
        # not inherited: a subclass does more, which may need whole weights
        check_strategy(trainer, type(self).__name__, shards=vars(type(self)).get("works_sharded", False))
        # a module may still build its layers in setup or configure_model: then on_fit_start is the first chance
        if not (is_overridden("setup", pl_module) or is_overridden("configure_model", pl_module)):
            self._plan(pl_module)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        check_optimizers(trainer, type(self).__name__)
        check_equal_settings(trainer, self.settings)
        self._selected, self._target = self._plan(pl_module)
        self._weights = {name: weight.parameter for name, weight in self._selected.items()}
        check_shards(self._weights, callbacks_of(trainer))
        self._begun = not trainer.strategy.restore_checkpoint_after_setup  # as it does with shards
        if self._begun:
            self._begin(trainer, pl_module)

    def _begin(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put masks in force: those of a checkpoint, of a fit before, or new ones."""
        if trainer.ckpt_path and self._checkpoint is None:
            raise ValueError(no_masks(trainer.ckpt_path))
        if self._missing and self._checkpoint is None:
            raise ValueError(self._missing)
        self._missing = ""
        if self._checkpoint:
            self._load_state(self._checkpoint)
        elif self._fits(self.masks):
            self.masks = self.masks.beside(self._weights)  # a second fit of the same module goes on
        else:
            self._draw(trainer, pl_module)
        counts = self.masks.counts
        self._target = dict(self._wanted(counts))  # of its own: updates change it
        self._check_counts(counts, "the masks of the checkpoint" if self._checkpoint else "the masks")
        self.masks.apply_to_weights(self._weights)
        for name, mask in self.masks.items():
            forget(trainer, name, mask)
        check_equal_masks(trainer, self.masks)
        if not self._checkpoint:
            self._dead = set()
            self._look_for_dead(trainer, self._weights)
        self._weights_of = []
        for optimizer in trainer.optimizers:
            self._weights_of.append(self._members(optimizer))
            if type(optimizer) not in ENTRYWISE:
                self._handles.append(optimizer.register_step_post_hook(self._reapply))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._begun:
            self._begin(trainer, pl_module)
        self._resume.on_train_start(trainer, pl_module)
        if trainer.global_step == 0:
            self._steps = [0] * len(trainer.optimizers)
        self._observers = [callback for callback in callbacks_of(trainer) if isinstance(callback, MaskObserver)]
        self._groups = [len(optimizer.param_groups) for optimizer in trainer.optimizers]
        if len(self._steps) != len(trainer.optimizers):
            raise ValueError(
                f"the checkpoint counts the steps of {len(self._steps)} optimizers, but "
                f"{type(pl_module).__name__}.configure_optimizers made {len(trainer.optimizers)}"
            )

    def _fits(self, masks: Masks) -> bool:
        """Whether these masks are already in force on the module; masks of another module are forgotten.

        Raises:
            ValueError: they are of this shape, but the weights have been changed since.
        """
        ours = {name: weight.shape for name, weight in self._weights.items()}
        if not masks or {name: mask.shape for name, mask in masks.items()} != ours:
            return False
        leaks = self._leaks(masks.beside(self._weights))
        inactive = masks.size - sum(masks.counts.values())
        if 0 < leaks < inactive / 2:
            raise ValueError(
                f"{type(self).__name__} holds masks of an earlier fit, but {leaks} of {inactive} masked weights are no "
                "longer 0: load the weights that belong to the masks, resume with ckpt_path, or make a new callback"
            )
        return inactive > 0 and leaks == 0

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
        changed = self.update(trainer, pl_module, optimizer, step)
        if changed:
            self.change_masks(trainer, pl_module, optimizer, changed)
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning does not declare it
        if changed or (every and step % every == 0):
            self._report(trainer)
        self.before_step(self._weights_of[index])

    def before_step(self, weights: Mapping[str, nn.Parameter]) -> None:
        """Let the optimizer, which steps next, change only what it may."""
        self.masks.apply_to_gradients(weights)

    def update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer, step: int
    ) -> dict[str, Tensor]:
        """The new masks of this optimizer's weights that are due after ``step`` steps; gradients are dense."""
        return {}

    def gradient_counts(self) -> Mapping[str, int]:
        """How many entries of each weight's gradient the coming step uses: by default those of the active weights."""
        return self.masks.counts

    def explored(self) -> int:
        """How many weights were ever active."""
        return sum(self.masks.counts.values())

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
        before, stayed = self.masks.counts, []
        with torch.no_grad():
            for name, mask in changed.items():
                same = mask == self.masks[name]
                stayed.append(same.count_nonzero())
                self.exchange(optimizer, name, mask, same)
                forget(trainer, name, same)
        self.masks = self.masks.replace(changed).beside(self._weights)
        active = sum(self.masks.counts[name] for name in changed)
        moved = sum(mask.numel() for mask in changed.values()) - sum(fetch(stayed))  # dropped or grown
        grown = (moved + active - sum(before[name] for name in changed)) // 2
        check_equal_masks(trainer, self.masks)
        for observer in self._observers:
            observer.on_after_mask_update(trainer, pl_module, self.masks)
        log_metrics(trainer, {f"{self._prefix}churn": grown / active if active else 0.0})
        self._look_for_dead(trainer, changed)
        self.masks_changed(trainer, optimizer, changed)

    def exchange(self, optimizer: Optimizer, name: str, mask: Tensor, same: Tensor) -> None:
        """Fit a weight to the ``mask`` that comes, of which only what is ``same`` stays as it was."""
        zero_inactive(self._weights[name], same)
        clear_state(optimizer, self._weights[name], same)

    def masks_changed(self, trainer: pl.Trainer, optimizer: Optimizer, changed: Mapping[str, Tensor]) -> None:
        """New masks are in force, those of ``changed`` and the others; gradients are still dense."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._resume.on_train_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._report(trainer)

    # --- measured against wanted ----------------------------------------------------------------

    def _report(self, trainer: pl.Trainer) -> None:
        """Log target and measured sparsity; they must agree to the weight."""
        size, wanted = self.masks.size, sum(self._target.values())
        counts, leaks = self.masks.counts, self._leaks(self.masks)
        actual = sum(counts.values()) + leaks
        log_metrics(trainer, {f"{self._prefix}target": 1 - wanted / size, f"{self._prefix}actual": 1 - actual / size})
        if leaks:
            raise RuntimeError(
                f"{leaks} weights outside the masks are not 0 at step {trainer.global_step} (sparsity "
                f"{1 - actual / size:.6f} instead of {1 - wanted / size:.6f}): something other than a step of the "
                "Trainer's optimizers writes to the weights, or to gradients after they were masked"
            )
        if averaged := averaged_leaks(trainer, self.masks):
            raise RuntimeError(
                f"{averaged} averages of weights outside the masks are not 0 at step {trainer.global_step}: let the "
                "avg_fn of the averaging callback average each entry by itself, and 0 with 0 to 0"
            )
        self._check_counts(counts, f"the masks at step {trainer.global_step}")

    def dead_units(self) -> dict[str, int]:
        """How many output units of each weight have no active connection, during a fit."""
        units = fetch(weight.unconnected(self.masks[name]) for name, weight in self._selected.items())
        return dict(zip(self._selected, units, strict=True))

    def _look_for_dead(self, trainer: pl.Trainer, changed: Iterable[str]) -> None:
        """Log units without connections, and warn of weights that are all 0; once each."""
        units = self.dead_units()
        named = {f"{self._prefix}dead_units/{name}": float(count) for name, count in units.items() if count}
        log_metrics(trainer, {f"{self._prefix}dead_units": float(sum(units.values())), **named})
        dead = all_zero({name: self._weights[name] for name in changed if name not in self._dead})
        self._dead.update(dead)
        if dead:
            rank_zero_warn(
                f"all weights of {', '.join(map(repr, dead))} are 0 at step {trainer.global_step}, so that nothing "
                "passes: exclude the layer, lower the sparsity, or choose a distribution that leaves each layer more"
            )

    def _leaks(self, masks: Masks) -> int:
        """Number of weights outside the masks that are not 0."""
        return count_outside(self._weights, masks)

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
        self._resume.on_load_checkpoint(trainer, pl_module, checkpoint)
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
        self.masks = masks.beside(self._weights)
        self._steps = list(state["steps"])

    def results(self) -> dict[str, Any]:
        return self._state()

    def take_results(self, results: dict[str, Any], module: nn.Module) -> None:
        self.masks = Masks.from_state_dict(results["masks"])  # can be read, whatever the module
        try:
            self._selected, self._target = self._plan(module)
            self._weights = {name: weight.parameter for name, weight in self._selected.items()}
            self._load_state(results)
            self._missing = ""
        finally:
            self._let_go()

    def miss_results(self, why: str) -> None:
        name = type(self).__name__
        self._missing = (
            f"{name} does not hold the masks of its last fit: {why} Another fit would draw the trained weights anew. "
            f"Go on from a checkpoint, with fit(ckpt_path=...), or from its masks, with a new {name}(masks_from=..., "
            "initialization=Dense())"
        )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._let_go()

    def _let_go(self) -> None:
        """Keep nothing of the module and the Trainer."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._selected, self._weights, self._weights_of, self._observers = [], {}, {}, [], []
        self._checkpoint = None
