"""The start of a fit: how masks come into force before the first step."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from .checkpoint import check_fit, load_parts, no_masks, read_masks
from .compatibility import check_equal_masks
from .either_lightning import do_nothing_closure, pl, rank_zero_warn
from .methods.method import NEVER
from .observer import callbacks_of
from .parts.optimizer_steps import Closure, OptimizerSteps
from .parts.part import Part
from .probes.first_look import LightningLook
from .sparsity import Masks, UpdateWindow
from .sparsity.masks.zeros import count_outside
from .trained import warn_of_copies
from .weight_averages import apply_to_averages, epochs_without_steps

COMPILED = "_orig_mod."  # what torch.compile puts into the names of a module's parameters


def plan(parts: Sequence[Part], module: nn.Module, optimizers: Sequence[Optimizer] | None = None) -> None:
    """Let each part select its weights of a module, of those that ``optimizers`` hold when there are some.

    Raises:
        ValueError: two of them select one weight; and as :func:`callbacks.sparsity.select` and the methods do.
    """
    trained = None
    if optimizers:
        trained = {id(weight) for o in optimizers for group in o.param_groups for weight in group["params"]}
    for index, part in enumerate(parts):
        part.plan(module, trained)
        for first, other in enumerate(parts[:index]):
            if twice := part.weights.keys() & other.weights.keys():
                raise ValueError(
                    f"{min(twice)!r} is selected by {_patterns(first, other)} and by {_patterns(index, part)}: narrow "
                    "include or exclude until one of them does"
                )


def _patterns(index: int, part: Part) -> str:
    method = part.method
    return f"methods[{index}] {type(method).__name__}(include={method.include!r}, exclude={method.exclude!r})"


def begin(
    trainer: pl.Trainer,
    pl_module: pl.LightningModule,
    parts: Sequence[Part],
    earlier: Masks,
    checkpoint: Mapping[str, Any] | None,
    *,
    same: bool,
) -> tuple[Masks, bool]:
    """Put masks in force: those of a checkpoint, those of an ``earlier`` fit, or new ones.

    Args:
        trainer: the Trainer, with its optimizers.
        pl_module: the module.
        parts: the weights of each method, selected.
        earlier: the masks of the fit before, or none.
        checkpoint: what the checkpoint says of masks; None without one.
        same: the fit before was of this module.

    Returns:
        The masks, and whether they are new.

    Raises:
        ValueError: the fit goes on from a checkpoint without masks; masks do not fit the weights, or the method.
        RuntimeError: the masks of some rank differ.
    """
    if trainer.ckpt_path and checkpoint is None:
        raise ValueError(no_masks(trainer.ckpt_path))
    going_on = bool(checkpoint)
    if checkpoint:
        load_parts(checkpoint, parts)
    elif going_on := _in_force(parts, earlier, same=same):
        for part in parts:  # a second fit of the same module goes on
            part.masks = Masks({name: earlier[name] for name in part.weights}).to_match(part.weights)
    else:
        look = LightningLook(trainer, pl_module)
        for part in parts:
            part.draw(look, _given(part))
        warn_of_copies(pl_module, parts)
    scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
    for part in parts:
        part.begin(trainer.optimizers, scaled=scaled)
        _note_order(part)
        if part.masks.counts != part.target:
            refuse_counts(part, "the masks of the checkpoint" if checkpoint else "the masks")
    masks = union(parts)
    apply_to_averages(callbacks_of(trainer), masks)
    check_equal_masks(trainer, masks)
    return masks, not going_on


def _note_order(part: Part) -> None:
    """Let the layers of a method that ablates neurons say once, in which order a forward pass uses them."""

    def watch(name: str) -> RemovableHandle:
        def note(*_: object) -> None:
            part.order.append(name)
            handle.remove()

        handle = part.owners[name].register_forward_pre_hook(note)
        return handle

    part.order = []
    part.handles += [watch(name) for name in part.weights if part.method.ablates]


def _given(part: Part) -> Masks | None:
    """Return the masks that the method was told to start with."""
    source = part.method.masks_from
    if source is None:
        return None
    if isinstance(source, Mapping) and not source:
        raise ValueError("masks_from is empty: give masks, or leave it out to draw them from sparsity")
    masks = source if isinstance(source, Masks) else read_masks(source)
    names = {name.replace(COMPILED, ""): name for name in part.weights}
    masks = Masks({names.get(name.replace(COMPILED, ""), name): mask for name, mask in masks.items()})
    check_fit(masks, part.weights, f"masks_from {str(source)!r}")
    return masks


def _in_force(parts: Sequence[Part], masks: Masks, *, same: bool) -> bool:
    """Return whether these masks are already in force on the module; masks of another module are forgotten.

    Raises:
        ValueError: they are of this module, or may be by its zeros, but its weights have been changed since.
    """
    weights = {name: weight for part in parts for name, weight in part.weights.items()}
    shapes = {name: weight.shape for name, weight in weights.items()}
    if not masks or {name: mask.shape for name, mask in masks.items()} != shapes:
        return False
    leaks, inactive = count_outside(weights, masks.to_match(weights)), masks.size - sum(masks.counts.values())
    if 0 < leaks < inactive / 2 or (same and leaks):
        names = ", ".join(type(part.method).__name__ for part in parts)
        raise ValueError(
            f"{names} holds masks of an earlier fit, but {leaks} of {inactive} masked weights are no "
            "longer 0: load the weights that belong to the masks, resume with ckpt_path, or make a new callback"
        )
    return leaks == 0 and (same or inactive > 0)


def union(parts: Sequence[Part]) -> Masks:
    """Return the masks of all parts together."""
    return parts[0].masks if len(parts) == 1 else Masks({n: mask for part in parts for n, mask in part.masks.items()})


def refuse_counts(part: Part, what: str) -> NoReturn:
    """Refuse masks with another number of active weights than there is to be; ``what`` they are, for the message.

    Raises:
        ValueError: always.
    """
    name = next(name for name, count in part.masks.counts.items() if count != part.target[name])
    method = part.method
    raise ValueError(
        f"{what} keep {part.masks.counts[name]} weights in {name!r}, but {type(method).__name__}("
        f"sparsity={method.sparsity}, distribution={method.distribution}) keeps {part.target[name]}: use the "
        "arguments of the run they come from"
    )


def watch_steps(trainer: pl.Trainer, pl_module: pl.LightningModule, parts: Sequence[Part]) -> list[OptimizerSteps]:
    """Return what watches the steps of each optimizer.

    In manual optimization a closure of the user's own is for optimizers that move weights by the gradients they find,
    as SAM does, before they call it: those gradients are masked.
    """

    def watch(index: int, optimizer: Optimizer) -> OptimizerSteps:
        def mask_gradients(closure: Closure) -> bool:
            inner = closure.args[-1] if isinstance(closure, functools.partial) else closure  # Lightning wraps it
            if getattr(inner, "__name__", "") == do_nothing_closure.__name__:  # of either Lightning
                return False
            for part in parts:
                part.masks.apply_to_gradients(part.held[index])
            return True

        return OptimizerSteps(optimizer, None if pl_module.automatic_optimization else mask_gradients)

    return [watch(index, optimizer) for index, optimizer in enumerate(trainer.optimizers)]


def enter_run(trainer: pl.Trainer, pl_module: pl.LightningModule, parts: Sequence[Part], *, fresh: bool) -> None:
    """Tell the parts how long the run is; when it is ``fresh`` they forget what they have counted.

    Raises:
        ValueError: the checkpoint is of a run with another number of optimizers; or a window does not fit into the run.
    """
    total = steps_per_optimizer(trainer, pl_module)
    for part in parts:
        if not fresh and len(part.steps) != len(trainer.optimizers):
            raise ValueError(
                f"the checkpoint counts the steps of {len(part.steps)} optimizers, but "
                f"{type(pl_module).__name__}.configure_optimizers made {len(trainer.optimizers)}"
            )
        window, length = part.method.window, total
        trial = bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # Lightning does not declare it
        if trial and 1 < window.stop < math.inf:
            length = max(total, window.stop)  # a few steps of a run that will be long enough
        part.enter_run(length, fresh=fresh)
        if not trial and not _updates(window, total):
            rank_zero_warn(
                f"{type(part.method).__name__} updates no masks in a run of {total:.0f} steps with "
                f"{window}: the masks stay as they were drawn. Choose a window with a smaller every"
            )


def _updates(window: UpdateWindow, total: float) -> bool:
    """Return whether there is an update in a run of so many steps, if there is to be one at all."""
    if window == NEVER or total == math.inf:
        return True
    return any(window.due(step, total) for step in range(int(total)))


def steps_per_optimizer(trainer: pl.Trainer, pl_module: pl.LightningModule) -> float:
    """Return the optimizer steps of the whole run; in manual optimization max_steps counts those of all optimizers."""
    total = float(trainer.estimated_stepping_batches)
    if total < 0:  # a loader without length and no max_steps
        return math.inf
    if idle := epochs_without_steps(trainer):
        batches, epochs = trainer.num_training_batches, int(trainer.max_epochs or 0)
        total = min(total, math.ceil(batches / trainer.accumulate_grad_batches) * (epochs - idle))
    if not pl_module.automatic_optimization and trainer.max_steps > 0:
        total = min(total, trainer.max_steps / len(trainer.optimizers))
    return total
