"""The readers of packed files: nothing in them is executed, and damage is refused before memory is asked for."""

from __future__ import annotations

import copy
import math
import warnings
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..sparsity import Masks
from .checksums import of_positions, of_tensor
from .header import Header, check_equal, read_header
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

    Warns:
        UserWarning: an earlier release wrote the file, which has no checksums of values.

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
            module, which then keeps the values it had.

    Example:
        >>> network = compile_sparse(load_sparse("pruned.safetensors", network), image)  # doctest: +SKIP
    """
    state, ours = read_sparse(path).state, module.state_dict()
    other = state.keys() != ours.keys() or any(tensor.shape != ours[name].shape for name, tensor in state.items())
    before = copy.deepcopy(ours) if other else {}  # torch loads what it can before it says that the rest does not fit
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        module.load_state_dict(before or ours)
        raise ValueError(f"{str(path)!r} is of another network: {error}") from error
    return module


def _read(path: str | Path, *, values: bool) -> SparseState:
    """Read a file; without ``values``, its masks alone."""
    try:
        with safe_open(path, framework="pt") as file:
            return _content(file, Path(path), values)
    except (SafetensorError, KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as a file of save_sparse: {error}") from error


def _content(file: Any, path: Path, values: bool) -> SparseState:
    """Return what is in an open file."""
    metadata, names = file.metadata() or {}, dict.fromkeys(file.keys())  # in the order of the file
    header = read_header(metadata, set(names), path.stat().st_size)
    state = {name: _tensor(file, name, header) for name in names if values and "::" not in name}
    masks, codes = {}, {}
    for name, shape in header.shapes.items():
        size, parts = math.prod(shape), {part: f"{name}::{part}" for part in CODES}
        codes[name] = {part: _tensor(file, key, header) for part, key in parts.items() if key in names}
        positions = _positions(file, name, codes[name], size)
        masks[name] = torch.zeros(size, dtype=torch.bool, device="cpu").index_fill_(0, positions, True).view(shape)
        if values:
            active = _tensor(file, f"{name}::values", header)
            whole = torch.zeros(size, dtype=active.dtype, device="cpu")
            whole[positions] = active
            state[name] = whole.view(shape)
    if header.checksums is None and "checksum" in metadata:  # the oldest files have none
        right = of_positions(metadata["shapes"], metadata["same"], codes)
        check_equal("what says which weights are active", metadata["checksum"], right)
    if header.checksums is None and values:
        warnings.warn(
            f"an earlier release wrote {str(path)!r}, without checksums of its values: whether they are those that "
            "were saved cannot be told. save_sparse writes them with checksums",
            stacklevel=4,
        )
    state.update({name: state[other] for name, other in header.same.items() if values})
    masks.update({name: masks[other] for name, other in header.same.items() if other in masks})
    return SparseState(state, masks)


def _tensor(file: Any, key: str, header: Header) -> Tensor:
    """Return a tensor of an open file, if it is what was written."""
    tensor: Tensor = file.get_tensor(key)
    if header.checksums is not None:
        check_equal(repr(key), header.checksums[key], of_tensor(key, tensor))
    return tensor


def _positions(file: Any, name: str, code: dict[str, Tensor], size: int) -> Tensor:
    """Return the positions of the active entries of a weight, as many as it has values in the file."""
    try:
        shape = tuple(file.get_slice(f"{name}::values").get_shape())
        if len(shape) != 1:
            raise ValueError(f"values of shape {shape}, not in a row")
        return decode(code, size, shape[0])
    except ValueError as error:
        raise ValueError(f"of {name!r} it has {error}") from error
