"""MaskOwner: the callback that keeps the masks of a fit true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import StochasticWeightAveraging, WeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import GradClipAlgorithmType, rank_zero_warn
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from . import compatibility, start
from .checkpoint import STATE_KEY, load_parts, no_masks, owner_state
from .files.progress import ExactResume
from .methods import Method
from .observer import MaskObserver, callbacks_of
from .part import Part, unconnected
from .processes import Returning
from .reservoir import part_of
from .settings import described
from .sparsity import Masks
from .sparsity.masks.masks import count_outside, fetch
from .sparsity.masks.sharding import nonzero_entries
from .weight_averages import averages_of, check_averages


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

    shown_arguments: ClassVar[tuple[str, ...]] = ()  # what ranks compare besides the methods

    def __init__(self, methods: Method | Sequence[Method]) -> None:
        self.masks = Masks({})
        if isinstance(methods, Method):
            self.parts = [part_of(methods, "sparsity/")]
        else:
            self.parts = [part_of(method, f"sparsity/group{index}/") for index, method in enumerate(methods)]
        if not self.parts:
            raise ValueError("methods is empty; give one or more, such as RigL(0.9, include=...)")
        self._groups: list[int] = []  # parameter groups by optimizer
        self._checkpoint: Mapping[str, Any] | None = None
        self._begun = True  # but in a fit whose checkpoint is read after on_fit_start
        self._observers: list[MaskObserver] = []
        self._averaging: list[pl.Callback] = []
        self._resume = ExactResume()
        self._dead: set[str] = set()  # weights that are known to be all 0
        self._clip_val: int | float | None = None  # the Trainer's, while there is nothing to clip
        self._missing = ""  # why the masks of the last fit are not here, if they are not

    @property
    def state_key(self) -> str:
        """One key for the whole family, so that a run can go on with another method."""
        return STATE_KEY

    def explored(self) -> int:
        """Return how many weights were ever active."""
        explored = 0
        for part in self.parts:
            explored += part.explored or sum(part.masks.counts.values())
        return explored

    # --- start ---------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._checkpoint = None
        owners = [callback for callback in callbacks_of(trainer) if isinstance(callback, MaskOwner)]
        compatibility.check_single_owner(owners)
        shards = all(part.method.works_on_shards for part in self.parts)
        compatibility.check_strategy(trainer, type(self).__name__, shards=shards)
        # a module may still build its layers in setup or configure_model: then on_fit_start is the first chance
        if not (is_overridden("setup", pl_module) or is_overridden("configure_model", pl_module)):
            start.plan(self.parts, pl_module)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        compatibility.check_optimizers(trainer, type(self).__name__)
        compatibility.check_equal_settings(trainer, settings(self))
        start.plan(self.parts, pl_module)
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
        self._averaging = [
            c for c in callbacks_of(trainer) if isinstance(c, (WeightAveraging, StochasticWeightAveraging))
        ]
        self._observers = [callback for callback in callbacks_of(trainer) if isinstance(callback, MaskObserver)]
        self._groups = [len(optimizer.param_groups) for optimizer in trainer.optimizers]
        start.enter_run(trainer, pl_module, self.parts)

    # --- every optimizer step -------------------------------------------------------------------

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        index = trainer.optimizers.index(optimizer)
        step = trainer.global_step if len(trainer.optimizers) == 1 else self.parts[0].steps[index]
        if self._clip_val is not None:
            trainer.gradient_clip_val, self._clip_val = self._clip_val, None
        for observer in self._observers:
            observer.on_dense_gradients(trainer, pl_module, optimizer, self.masks)
        changed: list[tuple[Part, dict[str, Tensor]]] = []
        for part in self.parts:
            if len(optimizer.param_groups) != self._groups[index]:  # finetuning adds groups as it unfreezes layers
                part.held[index] = part.members(optimizer)
            if masks := part.new_masks(optimizer, index, step):
                changed.append((part, masks))
            if part.deferred[index]:
                log_metrics(trainer, {f"{part.prefix}deferred": float(part.deferrals)})
        self._groups[index] = len(optimizer.param_groups)
        if changed:
            self.update_masks(trainer, pl_module, optimizer, changed)
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning does not declare it
        if changed or (every and step % every == 0):
            report(trainer, self.parts, self._averaging)
        for part in self.parts:
            part.before_step(index)

    def update_masks(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        optimizer: Optimizer,
        changed: Sequence[tuple[Part, Mapping[str, Tensor]]],
    ) -> None:
        """Put the new masks of some parts in force, and let observers and loggers know."""
        for observer in self._observers:
            observer.on_before_mask_update(trainer, pl_module, self.masks)
        averages = averages_of(self._averaging) if self._averaging else []
        names: set[str] = set()
        replaces_step = False
        grown = active = 0
        for part, masks in changed:
            names.update(masks)
            replaces_step = replaces_step or part.method.update_replaces_step
            grown += part.exchange(optimizer, masks, averages)
            for name in masks:
                active += part.masks.counts[name]
        self.masks = self.parts[0].masks if len(self.parts) == 1 else start.union(self.parts)
        if trainer.world_size > 1:
            compatibility.check_equal_masks(trainer, self.masks)
        for observer in self._observers:
            observer.on_after_mask_update(trainer, pl_module, self.masks)
        values = look_for_dead(trainer, self.parts, names, self._dead)
        values["sparsity/churn"] = grown / active if active else 0.0
        values["sparsity/explored"] = self.explored() / self.masks.size
        for part, _ in changed:
            values[f"{part.prefix}explored"] = part.explored / part.masks.size
            if part.method.ablates:
                neurons = sum(layer.neurons for layer in part.selected.values())
                ablated = sum(values.get(f"sparsity/dead_units/{name}", 0) for name in part.selected)
                values[f"{part.prefix}ablated"] = 1 - (neurons - ablated) / neurons
        log_metrics(trainer, values)
        if replaces_step:
            optimizer.zero_grad(set_to_none=True)  # without gradients a step changes nothing
            if trainer.gradient_clip_val and trainer.gradient_clip_algorithm == GradClipAlgorithmType.VALUE:
                # torch's clip_grad_value_ fails on no gradients at all
                self._clip_val, trainer.gradient_clip_val = trainer.gradient_clip_val, 0.0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._resume.on_train_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._clip_val is not None:
            trainer.gradient_clip_val, self._clip_val = self._clip_val, None
        report(trainer, self.parts, self._averaging)
        for part in self.parts:
            if problem := part.method.check_end(part, stepped=any(part.steps)):
                rank_zero_warn(f"the run ended at step {trainer.global_step} {problem}")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self._clip_val is not None:
            trainer.gradient_clip_val, self._clip_val = self._clip_val, None
        for part in self.parts:
            part.interrupt()

    # --- checkpoint -----------------------------------------------------------------------------

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
            self._missing = ""
        finally:
            for part in self.parts:
                part.release()

    def miss_results(self, why: str) -> None:
        name = type(self).__name__
        self._missing = (
            f"{name} does not hold the masks of its last fit: {why} Another fit would draw the trained weights anew. "
            f"Go on from a checkpoint, with fit(ckpt_path=...), or from its masks, with a new {name}(masks_from=..., "
            "initialization=KeepValues())"
        )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for part in self.parts:
            part.release()
        self._observers, self._averaging, self._checkpoint = [], [], None


def _begin(owner: MaskOwner, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
    """Put the masks of a checkpoint, of a fit before, or new ones in force."""
    if owner._missing and owner._checkpoint is None:
        raise ValueError(owner._missing)
    owner._missing = ""
    owner.masks = start.begin(trainer, pl_module, owner.parts, owner.masks, owner._checkpoint)
    if not owner._checkpoint:
        owner._dead = set()
        log_metrics(trainer, look_for_dead(trainer, owner.parts, owner.masks, owner._dead))


def mask_owner(trainer: pl.Trainer) -> MaskOwner | None:
    """Return the callback that holds the masks, if there is one."""
    return next((callback for callback in callbacks_of(trainer) if isinstance(callback, MaskOwner)), None)


def masks_of(trainer: pl.Trainer) -> Masks:
    """Return the masks of a fit; none of a dense one."""
    owner = mask_owner(trainer)
    return owner.masks if owner else Masks({})


def settings(owner: MaskOwner) -> str:
    """Return what an owner was given, as text that is equal in every process that was given the same."""
    given = [described(part.method) for part in owner.parts]
    given += [f"{name}={described(getattr(owner, name))}" for name in owner.shown_arguments]
    named = len(given) == 1 and given[0].startswith(f"{type(owner).__name__}(")
    return given[0] if named else f"{type(owner).__name__}({', '.join(given)})"


def log_metrics(trainer: pl.Trainer, values: Mapping[str, float]) -> None:
    """Send ``values`` to every logger at the current optimizer step, and to ``trainer.callback_metrics``.

    Unlike ``LightningModule.log``, which keeps only what falls on ``log_every_n_steps``, nothing is
    dropped or moved to another step.
    """
    for logger in trainer.loggers:
        logger.log_metrics(dict(values), step=trainer.global_step)
    for name, value in values.items():
        trainer.callback_metrics[name] = torch.tensor(value)


def look_for_dead(
    trainer: pl.Trainer, parts: Sequence[Part], names: Iterable[str], known: set[str]
) -> dict[str, float]:
    """Return how many units have no connections, and warn of those of ``names`` that are all 0; each once."""
    layers, units, suspects, entries = [], [], [], []
    for part in parts:
        for name, layer in part.selected.items():
            layers.append(name)
            units.append(unconnected(layer, part.masks[name]))
            if name in names and name not in known:
                suspects.append(name)
                weight = part.weights[name]
                entries.append(nonzero_entries(weight) if isinstance(weight, DTensor) else weight.count_nonzero())
    counts = fetch(entries)
    if 0 in counts:
        dead = [name for name, count in zip(suspects, counts, strict=True) if not count]
        known.update(dead)
        rank_zero_warn(
            f"all weights of {', '.join(map(repr, dead))} are 0 at step {trainer.global_step}, so that nothing "
            "passes: exclude the layer, lower the sparsity, or choose a distribution that leaves each layer more"
        )
    values = {"sparsity/dead_units": 0.0}
    for name, count in zip(layers, fetch(units), strict=True):
        values["sparsity/dead_units"] += count
        if count:
            values[f"sparsity/dead_units/{name}"] = float(count)
    return values


def report(trainer: pl.Trainer, parts: Sequence[Part], averaging: Sequence[pl.Callback]) -> None:
    """Log target and measured sparsity; they must agree to the weight.

    Raises:
        RuntimeError: a weight outside the masks is not 0, or an average of one.
        ValueError: there are more or fewer active weights than there are to be.
    """
    step, size, wanted, leaks, actual = trainer.global_step, 0, 0, 0, 0
    values = {}
    for part in parts:
        target, outside = sum(part.target.values()), count_outside(part.weights, part.masks)
        count = sum(part.masks.counts.values()) + outside
        values[f"{part.prefix}target"] = 1 - target / part.masks.size
        values[f"{part.prefix}actual"] = 1 - count / part.masks.size
        size, wanted, leaks, actual = size + part.masks.size, wanted + target, leaks + outside, actual + count
    values |= {"sparsity/target": 1 - wanted / size, "sparsity/actual": 1 - actual / size}
    log_metrics(trainer, values)
    if leaks:
        raise RuntimeError(
            f"{leaks} weights outside the masks are not 0 at step {step} (sparsity {1 - actual / size:.6f} instead of "
            f"{1 - wanted / size:.6f}): something other than a step of the Trainer's optimizers writes to the weights, "
            "or to gradients after they were masked"
        )
    if averaging:
        check_averages(averaging, start.union(parts), step)
    for part in parts:
        if part.masks.counts != part.target:
            part.refuse_counts(f"the masks at step {step}")
