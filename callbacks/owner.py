"""MaskOwner: the callback that keeps the masks of a fit true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from . import compatibility, start
from .checkpoint import STATE_KEY, load_parts, no_masks, owner_state, warn_of_denser_best
from .either_lightning import TrainerFn, overrides, pl, rank_zero_warn
from .files.progress import ExactResume
from .methods import Method
from .observer import MaskObserver, callbacks_of
from .parts.optimizer_steps import OptimizerSteps
from .parts.part import Part
from .parts.reservoir import part_of
from .processes import Returning
from .settings import settings
from .sparsity import Masks
from .sparsity_report import log_metrics, look_for_dead, report_selection, report_sparsity, report_update
from .trained import is_marked, leave_unreached, mark
from .weight_averages import averages_of, averaging_callbacks


class MaskOwner(Returning, pl.Callback):
    """Train any LightningModule sparsely: keep the masks of a fit in force, checkpoint them, and log how sparse it is.

    The module stays an ordinary dense one: a weight is sparse because its masked entries are exactly 0,
    after every optimizer step, with any optimizer. The masks live in this callback and in its part of the
    checkpoint. What is masked, and when masks change, is up to the methods; :class:`callbacks.RigL` and its like
    are owners of one method.

    Logs ``sparsity/target`` and ``sparsity/actual``, measured on the weights, every ``Trainer(log_every_n_steps)``
    steps, ``sparsity/dead_units`` (units without connections), and at each update ``sparsity/churn`` and
    ``sparsity/explored``. What is of one method in a list is in ``sparsity/group0/...``, ``sparsity/group1/...``.

    Args:
        methods: a method of :mod:`callbacks.methods`, or one of your own, or a list of them that select different
            weights.

    Attributes:
        masks: of all methods together; True = active. They stay after the fit, and a second fit of the same module
            goes on with them.
        parts: the weights of each method.

    Raises:
        ValueError: at construction, when there is no method. In ``setup``, when a pattern matches nothing, a layer
            would keep no weight, two methods select one weight, another callback owns masks too, or the strategy is
            not supported. When resuming, for a checkpoint without masks or with masks that do not fit.
        RuntimeError: during the fit, when the weights are not as sparse as they should be or the masks
            differ between ranks.

    Example:
        >>> from callbacks import methods
        >>> pl.Trainer(callbacks=[MaskOwner(methods.RigL(0.9))])  # doctest: +SKIP
    """

    state_key = STATE_KEY  # one for the whole family, so that a run can go on with another method
    shown_arguments: ClassVar[tuple[str, ...]] = ()  # what ranks compare besides the methods

    def __init__(self, methods: Method | Sequence[Method]) -> None:
        self.masks = Masks({})
        if isinstance(methods, Method):
            self.parts = [part_of(methods, "sparsity/")]
        else:
            self.parts = [part_of(method, f"sparsity/group{index}/") for index, method in enumerate(methods)]
        if not self.parts:
            raise ValueError("methods is empty; give one or more, such as RigL(0.9, include=...)")
        self._reported = -1
        self._groups, self._steps = list[int](), list[OptimizerSteps]()  # by optimizer
        self._checkpoint: Mapping[str, Any] | None = None
        self._begun = True  # but in a fit whose checkpoint is read after on_fit_start
        self._observers: list[MaskObserver] = []
        self._averaging: list[pl.Callback] = []
        self._resume = ExactResume()
        self._mark = ""  # what the module of the last fit is marked with
        self._left_dense: set[str] = set()  # weights of that module that nothing trained
        self._drawn = False  # the masks of this fit are new
        self._dead: set[str] = set()  # weights that are known to be all 0

    def explored(self) -> int:
        """Return how many weights were ever active."""
        return sum(part.explored or sum(part.masks.counts.values()) for part in self.parts)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._checkpoint = None
        owners = [callback for callback in callbacks_of(trainer) if isinstance(callback, MaskOwner)]
        compatibility.check_single_owner(owners)
        shards = all(part.method.works_on_shards for part in self.parts)
        compatibility.check_strategy(trainer, type(self).__name__, shards=shards)
        # a module may still build its layers in setup or configure_model: then on_fit_start is the first chance
        if not (overrides(pl_module, "setup", "configure_model")):
            start.plan(self.parts, pl_module)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        compatibility.check_optimizers(trainer, type(self).__name__)
        compatibility.check_equal_settings(trainer, settings(self))
        compatibility.check_finetuning(callbacks_of(trainer), pl_module, [part.method for part in self.parts])
        start.plan(self.parts, pl_module, trainer.optimizers)
        for part in self.parts:
            compatibility.check_shards(part.weights, callbacks_of(trainer))
        self._begun = not trainer.strategy.restore_checkpoint_after_setup  # as it does with shards
        if self._begun:
            _begin(self, trainer, pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._begun:
            _begin(self, trainer, pl_module)
        if self._checkpoint is not None:
            self._resume.on_train_start(trainer, pl_module)
        self._averaging, self._reported = averaging_callbacks(trainer), trainer.global_step - 1
        self._observers = [callback for callback in callbacks_of(trainer) if isinstance(callback, MaskObserver)]
        self._groups = [len(optimizer.param_groups) for optimizer in trainer.optimizers]
        self._steps = start.watch_steps(trainer, pl_module, self.parts)
        start.enter_run(trainer, pl_module, self.parts, fresh=self._drawn or not trainer.global_step)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        index = compatibility.index_of(trainer, optimizer, self._steps)
        steps, step = self._steps[index], self.parts[0].steps[index]
        if not steps.begins():
            for part in self.parts:
                part.before_step(index)
            return
        if self._drawn and any(part.before for part in self.parts):
            steps.left_out = leave_unreached(trainer, pl_module, self.parts, index)
            self.masks = start.union(self.parts)
        for observer in self._observers:
            observer.on_dense_gradients(trainer, pl_module, optimizer, self.masks)
        changed: list[tuple[Part, dict[str, Tensor]]] = []
        for part in self.parts:
            if len(optimizer.param_groups) != self._groups[index]:  # finetuning adds groups as it unfreezes layers
                part.held[index] = part.members(optimizer)
            if masks := part.new_masks(optimizer, index, step):
                changed.append((part, masks))
                steps.left_out |= part.method.update_replaces_step
            if part.deferred[index]:
                log_metrics(trainer, {f"{part.prefix}deferred": float(part.deferrals)})
        self._groups[index] = len(optimizer.param_groups)
        if changed:
            self.update_masks(trainer, pl_module, changed)
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning does not declare it
        if changed or (every and trainer.global_step // every > self._reported // every):
            self._reported = trainer.global_step
            report_sparsity(trainer, pl_module, self.parts, self._averaging)
        if not steps.left_out or steps.moved:
            for part in self.parts:
                part.before_step(index)

    def update_masks(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        changed: Sequence[tuple[Part, Mapping[str, Tensor]]],
    ) -> None:
        """Put the new masks of some parts in force, and let observers and loggers know."""
        for observer in self._observers:
            observer.on_before_mask_update(trainer, pl_module, self.masks)
        averages = averages_of(self._averaging) if self._averaging else []
        grown = 0
        for part, masks in changed:
            grown += part.exchange(masks, averages)
        self.masks = self.parts[0].masks if len(self.parts) == 1 else start.union(self.parts)
        if trainer.world_size > 1:
            compatibility.check_equal_masks(trainer, self.masks)
        for observer in self._observers:
            observer.on_after_mask_update(trainer, pl_module, self.masks)
        report_update(trainer, self.parts, changed, grown, self._dead)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._resume.on_train_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        report_sparsity(trainer, pl_module, self.parts, self._averaging)
        warn_of_denser_best(trainer, self.masks)
        for part in self.parts if not trainer.fast_dev_run else ():  # type: ignore[attr-defined]
            if problem := part.method.check_end(part, stepped=any(part.steps)):
                rank_zero_warn(f"the run ended at step {trainer.global_step} {problem}")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        for steps in self._steps:
            steps.release()
        for part in self.parts:
            part.interrupt()

    # Written by on_save_checkpoint rather than state_dict, so that a second owner is refused by
    # check_single_owner, whose message helps, and not by the Trainer's own check.
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint.setdefault("callbacks", {})[STATE_KEY] = owner_state(self.masks, self.parts[0].steps, self.parts)

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

    def results(self) -> dict[str, Any]:
        return owner_state(self.masks, self.parts[0].steps, self.parts)

    def take_results(self, results: dict[str, Any], module: nn.Module) -> None:
        self.masks = Masks.from_state_dict(results["masks"])  # can be read, whatever the module
        try:
            start.plan(self.parts, module)
            load_parts(results, self.parts)
            self._mark, self._left_dense = mark(module), set()
        finally:
            for part in self.parts:
                self._left_dense.update(part.left_dense)
                part.release()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for part in self.parts:
            self._left_dense.update(part.left_dense)
            part.release()
        for steps in self._steps:
            steps.release()
        self._observers, self._averaging, self._steps, self._checkpoint = [], [], [], None


def _begin(owner: MaskOwner, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
    """Put the masks of a checkpoint, of a fit before, or new ones in force."""
    if owner._checkpoint is None:
        compatibility.check_returned(owner.missing, type(owner).__name__)
    owner.missing = ""
    report_selection(pl_module, owner.parts)
    same = is_marked(pl_module, owner._mark)
    for part in owner.parts if same else ():
        part.leave_dense(sorted(owner._left_dense & part.weights.keys()))
    owner.masks, owner._drawn = start.begin(trainer, pl_module, owner.parts, owner.masks, owner._checkpoint, same=same)
    owner._mark, owner._left_dense = mark(pl_module), set()
    if not owner._checkpoint:
        owner._dead = set()
        log_metrics(trainer, look_for_dead(trainer, owner.parts, owner.masks, owner._dead))
