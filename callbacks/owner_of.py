"""Where other callbacks find the masks of a fit."""

from __future__ import annotations

from .either_lightning import pl
from .observer import callbacks_of
from .owner import MaskOwner
from .sparsity import Masks


def mask_owner(trainer: pl.Trainer) -> MaskOwner | None:
    """Return the callback that holds the masks, if there is one."""
    return next((callback for callback in callbacks_of(trainer) if isinstance(callback, MaskOwner)), None)


def masks_of(trainer: pl.Trainer) -> Masks:
    """Return the masks of a fit; none of a dense one."""
    owner = mask_owner(trainer)
    return owner.masks if owner else Masks({})
