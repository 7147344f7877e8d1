"""What trains: weights that the loss does not reach, and copies of weights that are drawn anew."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import torch
from torch import nn

from .either_lightning import pl, rank_zero_warn
from .parts.part import Part
from .probes.first_look import LightningLook
from .sparsity import Masks


def leave_unreached(trainer: pl.Trainer, pl_module: pl.LightningModule, parts: Sequence[Part], index: int) -> bool:
    """Give weights that the first gradients of an optimizer do not reach their values back, and leave them dense.

    What one optimizer trains alone is drawn again without them, as if they had been excluded: their share of the active
    weights is for the others.

    Returns:
        Whether masks have been drawn again, so that the gradients are those of other weights.

    Raises:
        ValueError: nothing is left.
    """
    drawn = False
    for part in parts:
        names = _unreached(part, index)
        if not names:
            continue
        again = part.method.masks_from is None and part.steps == [0]  # one optimizer, which has not stepped
        rank_zero_warn(
            f"the loss does not depend on {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}, which "
            f"{type(part.method).__name__} selected: without a gradient they keep their values and stay dense. Exclude "
            "them, or let the first training step use them"
        )
        with torch.no_grad():
            for name in part.before if again else names:
                part.weights[name].copy_(part.before[name])
        masks, target = part.masks, part.target
        part.leave_dense(names)
        part.held[index] = {name: weight for name, weight in part.held[index].items() if name in part.weights}
        if again:
            part.draw(LightningLook(trainer, pl_module), None)
            part.target = dict(part.method.expected_counts(part))
            part.masks.apply_to_weights(part.weights)
            part.before = {}
            part.enter_run(part.total_steps, fresh=True)
        else:
            part.masks = Masks({name: masks[name] for name in part.weights})
            part.target = {name: target[name] for name in part.weights}
            part.ever_active = {name: part.ever_active[name] for name in part.weights}
            part.explored = sum(Masks(part.ever_active).counts.values())
            for name in names:
                del part.before[name]
        drawn = drawn or again
    return drawn


def _unreached(part: Part, index: int) -> list[str]:
    """Return, when the gradients of an optimizer are complete, which of its weights the loss did not reach.

    That is asked once for each weight whose masks are new, as soon as one of the optimizer's has a gradient, but
    for those whose exact name is included.
    """
    held = part.held[index]
    asked = [name for name in held if name in part.before and name not in part.asked_for]
    if not asked or all(weight.grad is None for weight in held.values()):
        return []
    unreached = [name for name in asked if held[name].grad is None]
    if not unreached:
        for name in {*held, *part.asked_for}:
            part.before.pop(name, None)
    return unreached


def warn_of_copies(module: nn.Module, parts: Sequence[Part]) -> None:
    """Warn of weights that equalled one that is drawn anew, such as those of a target network, and no longer do."""
    drawn = {name: value for part in parts for name, value in part.before.items()}
    copies = [
        f"{other} of {name}"
        for other, weight in module.named_parameters()
        if other not in drawn
        for name, value in drawn.items()
        if value.shape == weight.shape and value.dim() > 1 and torch.equal(value, weight)
    ]
    if copies:
        rank_zero_warn(
            f"{', '.join(copies[:4])}{', ...' if len(copies) > 4 else ''} was a copy, and no longer is, as masks and "
            "values are drawn when the fit starts: copy the weights again in on_train_start"
        )


MARK = "_masks_of"  # an attribute of modules


def mark(module: nn.Module) -> str:
    """Mark a module whose weights have been made sparse, and return the mark, which copies of the module have too."""
    value = uuid.uuid4().hex
    setattr(module, MARK, value)
    return value


def is_marked(module: nn.Module, value: str) -> bool:
    """Return whether a module has this mark; the empty one is none."""
    return bool(value) and vars(module).get(MARK) == value
