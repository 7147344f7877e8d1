"""The readers of packed files: nothing in them is executed, and damage is refused before memory is asked for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..sparsity import Masks
from .header import check_checksum, read_header
from .positions import CODES, decode

Module = TypeVar("Module", bound=nn.Module)


class SparseState(NamedTuple):
    """The content of a file: ``state``, the ``state_dict`` with its zeros, and the ``masks`` of sparse weights."""

    state: dict[str, Tensor]
    masks: dict[str, Tensor]


def is_packed(path: str | Path) -> bool:
    """Return whether a file is in the safetensors format, by its first bytes: a length, then JSON."""
    with Path(path).open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_sparse(path: str | Path) -> SparseState:
    """Read what :func:`save_sparse` has written, to the CPU; nothing in the file is executed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or :func:`save_sparse` has not written it.

    Example:
        >>> state, masks = read_sparse("pruned.safetensors")  # doctest: +SKIP
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    return _read(path, values=True)


def read_packed_masks(path: str | Path) -> Masks:
    """Read the masks in a file of :func:`save_sparse`; its values are not read.

    Raises:
        ValueError: the file is damaged, or :func:`save_sparse` has not written it.
    """
    return Masks(_read(path, values=False).masks)


def load_sparse(path: str | Path, module: Module) -> Module:
    """Load a file of :func:`save_sparse` into a module of its network and return the module.

    The module stays dense and ordinary, with zeros, in the types it has; ``compile_sparse`` of
    ``lightning_modules.sparse_inference`` makes it fast.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, as in :func:`read_sparse`; or its names or shapes are not those of the
            module.

    Example:
        >>> network = compile_sparse(load_sparse("pruned.safetensors", network), image)  # doctest: +SKIP
    """
    state = read_sparse(path).state
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{str(path)!r} is of another network: {error}") from error
    return module


def _read(path: str | Path, *, values: bool) -> SparseState:
    """Read a file; without ``values``, its masks alone."""
    try:
        with safe_open(path, framework="pt") as file:
            return _content(file, Path(path).stat().st_size, values)
    except (SafetensorError, KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as a file of save_sparse: {error}") from error


def _content(file: Any, nbytes: int, values: bool) -> SparseState:
    """Return what is in an open file of this size."""
    metadata, names = file.metadata() or {}, dict.fromkeys(file.keys())  # in the order of the file
    shapes, same = read_header(metadata, set(names), nbytes)
    state = {name: file.get_tensor(name) for name in names if values and "::" not in name}
    masks, codes = {}, {}
    for name, shape in shapes.items():
        size, parts = math.prod(shape), {part: f"{name}::{part}" for part in CODES}
        codes[name] = {part: file.get_tensor(key) for part, key in parts.items() if key in names}
        positions = _positions(file, name, codes[name], size)
        masks[name] = torch.zeros(size, dtype=torch.bool, device="cpu").index_fill_(0, positions, True).view(shape)
        if values:
            active = file.get_tensor(f"{name}::values")
            zeros = torch.zeros(size, dtype=active.dtype, device="cpu")
            state[name] = zeros.index_copy_(0, positions, active).view(shape)
    check_checksum(metadata, codes)
    state.update({name: state[other] for name, other in same.items() if values})
    masks.update({name: masks[other] for name, other in same.items() if other in masks})
    return SparseState(state, masks)


def _positions(file: Any, name: str, code: dict[str, Tensor], size: int) -> Tensor:
    """Return the positions of the active entries of a weight, as many as it has values in the file."""
    try:
        shape = tuple(file.get_slice(f"{name}::values").get_shape())
        if len(shape) != 1:
            raise ValueError(f"values of shape {shape}, not in a row")
        return decode(code, size, shape[0])
    except ValueError as error:
        raise ValueError(f"of {name!r} it has {error}") from error
