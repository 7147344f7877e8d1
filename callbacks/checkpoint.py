"""What a checkpoint says of masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .files import read_safely
from .packed_masks import is_packed, read_packed_masks
from .sparsity import Masks

STATE_KEY = "SparseTraining"
VERSION = 1


def read_masks(path: str | Path) -> Masks:
    """The masks that a sparse run saved in a Lightning checkpoint; nothing in the file is executed.

    Args:
        path: of a checkpoint, or of a file that ``lightning_modules.sparse_inference.save_sparse`` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a checkpoint of a sparse run, or is damaged.

    Example:
        >>> masks = read_masks("runs/pruned/last.ckpt")  # doctest: +SKIP
    """
    if Path(path).is_file() and is_packed(path):
        if masks := read_packed_masks(path):
            return masks
        raise ValueError(
            f"{str(path)!r} holds no masks: save_sparse found no weights of 0 worth leaving out. Give it the masks of "
            "the sparse fit"
        )
    checkpoint = read_safely(path)
    try:
        masks = Masks.from_state_dict(checkpoint["callbacks"][STATE_KEY]["masks"])
        if not masks:
            raise KeyError("masks")
        return masks
    except ValueError as error:
        raise ValueError(f"{str(path)!r} holds no masks that can be read: {error}") from error
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{str(path)!r} holds no masks: masks_from wants a checkpoint saved during a fit with SparseTraining, "
            "SET, RigL or another of its family"
        ) from error


def check_writer(state: Mapping[str, Any], seed: int) -> None:
    """Refuse a state of another version or of a run with another seed.

    Whoever raises ``VERSION`` converts older states here.

    Raises:
        ValueError: either differs.
    """
    if state["version"] != VERSION:
        raise ValueError(
            f"the checkpoint's masks have version {state['version']}, but version {VERSION} is what can be read here: "
            "install the release that wrote it, or a later one"
        )
    if state["seed"] != seed:
        raise ValueError(
            f"the checkpoint's masks have seed {state['seed']}, but this run has seed {seed}: resume with the "
            "arguments of the run that wrote it"
        )


def check_fit(masks: Masks, weights: Mapping[str, Tensor], source: str) -> None:
    """Refuse masks that are not exactly those of the selected weights.

    Raises:
        ValueError: a name or a shape differs.
    """
    theirs = {name: tuple(mask.shape) for name, mask in masks.items()}
    ours = {name: tuple(weight.shape) for name, weight in weights.items()}
    differing = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
    if differing:
        detail = "; ".join(
            f"{name!r}: {theirs.get(name, 'no mask')} there, {ours.get(name, 'not selected')} here"
            for name in differing[:4]
        )
        raise ValueError(
            f"the masks of {source} do not fit the selected weights ({detail}): use the network and the "
            "include/exclude patterns they were made with"
        )


def no_masks(path: object) -> str:
    """What to say when a sparse run is resumed from a dense checkpoint."""
    return (
        f"the checkpoint {str(path)!r} holds no masks, so a sparse run cannot go on from it. To start a sparse run "
        "from its weights, load them into the module and fit without ckpt_path, with initialization=Dense()"
    )
