"""The start of a fit: how masks come into force before the first step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import pytorch_lightning as pl
from torch import nn

from .checkpoint import check_fit, load_parts, no_masks, read_masks
from .compatibility import check_equal_masks
from .observer import callbacks_of
from .part import Part
from .probes.first_look import LightningLook
from .sparsity import Masks
from .sparsity.masks.masks import count_outside
from .weight_averages import apply_to_averages, epochs_without_steps


def plan(parts: Sequence[Part], module: nn.Module) -> None:
    """Let each part select its weights of a module.

    Raises:
        ValueError: two of them select one weight; and as :func:`callbacks.sparsity.select` and the methods do.
    """
    for index, part in enumerate(parts):
        part.plan(module)
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
) -> Masks:
    """Put masks in force, and return them: those of a checkpoint, those of an ``earlier`` fit, or new ones.

    Raises:
        ValueError: the fit goes on from a checkpoint without masks; masks do not fit the weights, or the method.
        RuntimeError: the masks of some rank differ.
    """
    if trainer.ckpt_path and checkpoint is None:
        raise ValueError(no_masks(trainer.ckpt_path))
    if checkpoint:
        load_parts(checkpoint, parts)
    elif _in_force(parts, earlier):
        for part in parts:  # a second fit of the same module goes on
            part.masks = Masks({name: earlier[name] for name in part.weights}).to_match(part.weights)
    else:
        look = LightningLook(trainer, pl_module)
        for part in parts:
            part.draw(look, _given(part))
    scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
    for part in parts:
        part.begin(trainer.optimizers, scaled=scaled)
        if part.masks.counts != part.target:
            refuse_counts(part, "the masks of the checkpoint" if checkpoint else "the masks")
    masks = union(parts)
    apply_to_averages(callbacks_of(trainer), masks)
    check_equal_masks(trainer, masks)
    return masks


def _given(part: Part) -> Masks | None:
    """Return the masks that the method was told to start with."""
    source = part.method.masks_from
    if source is None:
        return None
    if isinstance(source, Mapping) and not source:
        raise ValueError("masks_from is empty: give masks, or leave it out to draw them from sparsity")
    masks = source if isinstance(source, Masks) else read_masks(source)
    check_fit(masks, part.weights, f"masks_from {str(source)!r}")
    return masks


def _in_force(parts: Sequence[Part], masks: Masks) -> bool:
    """Return whether these masks are already in force on the module; masks of another module are forgotten.

    Raises:
        ValueError: they are of this module's shape, but its weights have been changed since.
    """
    weights = {name: weight for part in parts for name, weight in part.weights.items()}
    shapes = {name: weight.shape for name, weight in weights.items()}
    if not masks or {name: mask.shape for name, mask in masks.items()} != shapes:
        return False
    leaks, inactive = count_outside(weights, masks.to_match(weights)), masks.size - sum(masks.counts.values())
    if 0 < leaks < inactive / 2:
        names = ", ".join(type(part.method).__name__ for part in parts)
        raise ValueError(
            f"{names} holds masks of an earlier fit, but {leaks} of {inactive} masked weights are no "
            "longer 0: load the weights that belong to the masks, resume with ckpt_path, or make a new callback"
        )
    return inactive > 0 and leaks == 0


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


def enter_run(trainer: pl.Trainer, pl_module: pl.LightningModule, parts: Sequence[Part]) -> None:
    """Tell the parts how long the run is; at its beginning they forget what they have counted.

    Raises:
        ValueError: the checkpoint is of a run with another number of optimizers; or a window does not fit into the run.
    """
    total = steps_per_optimizer(trainer, pl_module)
    for part in parts:
        if trainer.global_step and len(part.steps) != len(trainer.optimizers):
            raise ValueError(
                f"the checkpoint counts the steps of {len(part.steps)} optimizers, but "
                f"{type(pl_module).__name__}.configure_optimizers made {len(trainer.optimizers)}"
            )
        part.enter_run(total, fresh=trainer.global_step == 0)


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
