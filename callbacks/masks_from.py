"""Read the masks of an earlier run from its checkpoint."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from .sparsity import Masks

STATE_KEY = "SparseTraining"


def read_masks(path: str | Path) -> Masks:
    """The masks that a sparse run saved in a Lightning checkpoint; nothing in the file is executed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a checkpoint of a sparse run, or is damaged.

    Example:
        >>> masks = read_masks("runs/pruned/last.ckpt")  # doctest: +SKIP
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {str(path)!r} to take masks from")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as a checkpoint: {error}") from error
    try:
        return Masks.from_state_dict(checkpoint["callbacks"][STATE_KEY]["masks"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{str(path)!r} holds no masks: masks_from wants a checkpoint saved during a fit with SparseTraining, "
            "SET, RigL or another of its family"
        ) from error
