"""What a checkpoint says of masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from .either_lightning import pl, rank_zero_warn
from .files.safe_files import read_safely
from .packed import is_packed, read_packed_masks
from .parts.part import Part
from .sparsity import Masks
from .sparsity.masks.packing import pack, unpack

STATE_KEY = "SparseTraining"
VERSION = 2


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


def owner_state(masks: Masks, steps: Sequence[int], parts: Sequence[Part] = ()) -> dict[str, Any]:
    """Return what a checkpoint says of masks: tensors and plain values only.

    Args:
        masks: of all parts together.
        steps: what each optimizer has done.
        parts: without any the masks can be trained on by any method with any seed.
    """
    return {
        "version": VERSION,
        "steps": list(steps),
        "masks": masks.state_dict(),
        "parts": [_state_of(part) for part in parts],
    }


def load_parts(state: Mapping[str, Any], parts: Sequence[Part]) -> None:
    """Let parts go on from a checkpoint's state.

    Raises:
        ValueError: the state is of another version, seed or network, of other parts, or of a run to another end.
    """
    state = _of_this_version(state)
    for part in parts:
        left_dense = {name for theirs in state["parts"] for name in theirs.get("left_dense", ())}
        if names := sorted(left_dense & part.weights.keys()):
            part.leave_dense(names)
    masks, saved = Masks.from_state_dict(state["masks"]), state["parts"]
    check_fit(masks, {name: weight for part in parts for name, weight in part.weights.items()}, "the checkpoint")
    if len(parts) == 1 and len(saved) != 1:
        saved = [{}]  # of several methods, or none: this one goes on with their masks
    elif [part["weights"] for part in saved] != [list(part.weights) for part in parts]:
        raise ValueError(
            f"the checkpoint holds groups of {[len(part['weights']) for part in saved]} weights, which are not the "
            f"{[len(part.weights) for part in parts]} that the methods of this run select: resume with the methods of "
            "the run that wrote it, in their order"
        )
    for part, theirs in zip(parts, saved, strict=True):
        seed = part.method.seed
        if theirs.get("seed", seed) != seed:
            raise ValueError(
                f"the checkpoint's masks have seed {theirs['seed']}, but this run has seed {seed}: resume with the "
                "arguments of the run that wrote it"
            )
        part.masks = Masks({name: masks[name] for name in part.weights}).to_match(part.weights)
        part.steps = list(state["steps"])
        _load_part(theirs, part)


def _state_of(part: Part) -> dict[str, Any]:
    """Return what a part is besides its masks."""
    budget_as = part.method.saves_budget_as
    return {
        "weights": list(part.masks),
        "seed": part.method.seed,
        **({budget_as: dict(part.budget)} if budget_as else {}),
        "left_dense": list(part.left_dense),
        "deferred": list(part.deferred),
        "deferrals": part.deferrals,
        "explored": {name: pack(mask).cpu() for name, mask in part.ever_active.items()},
        "averages": part.averages.state_dict(),
        "memory": {kind: {name: t.cpu() for name, t in tensors.items()} for kind, tensors in part.memory.items()},
    }


def _load_part(state: Mapping[str, Any], part: Part) -> None:
    """Let a part, which has its masks, go on from a state that may be that of another method."""
    devices = {name: weight.device for name, weight in part.weights.items()}
    part.budget = part.method.resume_budget(part, state.get(part.method.saves_budget_as))
    part.deferred = list(state.get("deferred") or [False] * len(part.steps))
    part.deferrals = int(state.get("deferrals", 0))
    # a static run, going on as one whose masks move, has explored what it has
    explored = state.get("explored") or {name: pack(mask) for name, mask in part.masks.items()}
    part.ever_active = {name: unpack(explored[name], m.shape).to(m.device) for name, m in part.masks.items()}
    part.explored = sum(Masks(part.ever_active).counts.values())
    part.averages.load_state_dict(state.get("averages", {"values": {}, "added": {}}), devices)
    part.memory = {
        kind: {name: tensor.to(devices[name]) for name, tensor in tensors.items()}
        for kind, tensors in state.get("memory", {}).items()
    }


def _of_this_version(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a checkpoint's state as this version writes it.

    Raises:
        ValueError: a later version wrote it.
    """
    if state["version"] == VERSION:
        return state
    if state["version"] != 1:
        raise ValueError(
            f"the checkpoint's masks have version {state['version']}, but version {VERSION} is what can be read here: "
            "install the release that wrote it, or a later one"
        )
    parts = []
    for group in state.get("groups", [state]):  # version 1 has one part in the state itself, or several beside it
        part = {**group, "weights": list(group["masks"])}
        if "reservoir" in group:
            trained = Masks.from_state_dict(group["backward"])
            part["memory"] = {"reservoir": group["reservoir"], "trained": dict(trained)}
        parts.append(part)
    return {**state, "parts": parts}


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


def warn_of_denser_best(trainer: pl.Trainer, masks: Masks) -> None:
    """Warn of a checkpoint that a metric chose as the best and that has more active weights than the end of the fit."""
    for callback in trainer.checkpoint_callbacks:
        path = getattr(callback, "best_model_path", "") if getattr(callback, "monitor", None) else ""
        if not path or not trainer.is_global_zero or not Path(path).is_file():
            continue
        best = read_safely(path).get("callbacks", {}).get(STATE_KEY, {}).get("masks")
        sparsity = Masks.from_state_dict(best).sparsity if best else 0.0
        if sparsity < masks.sparsity - 1e-3:
            rank_zero_warn(
                f"the best checkpoint, {path!r}, has a sparsity of {sparsity:.4f}, but the fit ends with "
                f"{masks.sparsity:.4f}: {callback.monitor!r} was best before the pruning ended. Take the last "  # type: ignore[attr-defined]
                "checkpoint, or let ModelCheckpoint begin when the final sparsity is reached"
            )


def no_masks(path: object) -> str:
    """What to say when a sparse run is resumed from a dense checkpoint."""
    return (
        f"the checkpoint {str(path)!r} holds no masks, so a sparse run cannot go on from it. To start a sparse run "
        "from its weights, load them into the module and fit without ckpt_path, with initialization=KeepValues()"
    )
