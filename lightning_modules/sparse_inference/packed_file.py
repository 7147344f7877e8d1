"""Files of sparse networks: values of active weights, and where they are."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .positions import ENTRIES_PER_BYTE, decode, encode
from .run.surroundings import CPU
from .whole_file import whole_file

FORMAT = "sparse-lightning 1"
CODES = ("bits", "high", "low")

Module = TypeVar("Module", bound=nn.Module)


class SparseState(NamedTuple):
    """What is in a file: ``state``, the ``state_dict`` with its zeros, and ``masks``, of the weights that have one."""

    state: dict[str, Tensor]
    masks: dict[str, Tensor]


def save_sparse(
    module: nn.Module,
    path: str | Path,
    *,
    masks: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a module's ``state_dict`` without the inactive weights; the file is whole or not there.

    The file is in the safetensors format: under a tensor's name itself, or, of a sparse weight, under
    ``<name>::values`` the active weights in order, and under ``<name>::bits``, or ``<name>::high`` and
    ``<name>::low``, where they are (:func:`.positions.encode`). Its metadata says ``format`` and, as JSON, the
    ``shapes`` of the sparse weights and which tensors are the ``same`` as others; and ``checksum``, which older files
    lack, the CRC-32 of these two texts and of what says where weights are, in the order of ``shapes``. At 90 %
    sparsity a position takes 0.52 bits, 1.12 times the least possible.

    ``SparseTraining(masks_from=path)`` and ``read_masks`` read the masks.

    Args:
        module: on any device.
        path: overwritten; ``.safetensors`` is its usual ending.
        masks: bool, True = active, by parameter name. By default a parameter's weights other than 0, where that
            makes the file smaller. A sparse run's own masks also keep active weights that are 0.
        dtype: of kernels in the file (parameters of two or more dimensions); by default their own.

    Raises:
        ValueError: ``masks`` is empty; a mask has no parameter of its name and shape, or is not 0 outside; ``dtype`` is
            not a floating type, or a weight is too large for it; a name has ``::`` in it.
    """
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"dtype is {dtype}; it is a floating type, such as torch.float16")
    kernels = {name for name, parameter in module.named_parameters(remove_duplicate=False) if parameter.dim() > 1}
    tensors = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    if taken := [name for name in tensors if "::" in name]:
        raise ValueError(f"{taken[0]!r} has '::' in its name, which the file needs for its own names: rename it")
    if masks is not None:
        _check_masks(masks, tensors)
    same = _same(tensors)
    written: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name in (name for name in tensors if name not in same):
        tensor = _cast(name, tensors[name], dtype) if name in kernels and dtype else tensors[name]
        active = masks.get(name) if masks is not None else tensors[name] != 0 if name in kernels else None
        parts = {} if active is None else _parts(tensor, active.cpu())
        size = sum(part.nbytes for part in parts.values())
        if active is not None and (masks is not None or size < tensor.nbytes):
            written.update({f"{name}::{part}": value for part, value in parts.items()})
            shapes[name] = list(tensor.shape)
        else:
            written[name] = tensor.clone(memory_format=torch.contiguous_format)
    header = {"format": FORMAT, "shapes": json.dumps(shapes), "same": json.dumps(same)}
    header["checksum"] = _checksum(header, shapes, written)
    with whole_file(Path(path)) as part:
        save_file(written, part, header)


def read_sparse(path: str | Path) -> SparseState:
    """What :func:`save_sparse` has written, on the CPU; nothing in the file is executed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or :func:`save_sparse` has not written it.

    Example:
        >>> state, masks = read_sparse("pruned.safetensors")  # doctest: +SKIP
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            header, names = file.metadata() or {}, file.keys()
            shapes, same = _described(header, set(names), Path(path).stat().st_size)
            tensors = {name: file.get_tensor(name) for name in names}
        state = _unpacked(tensors, shapes, same)
        if header.get("checksum", right := _checksum(header, shapes, tensors)) != right:
            raise ValueError(f"its checksum is {header['checksum']!r}, but that of its positions is {right!r}")
        return state
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as a file of save_sparse: {error}") from error


def load_sparse(path: str | Path, module: Module) -> Module:
    """Load a file of :func:`save_sparse` into a module of its network and return the module.

    The module stays dense and ordinary, with zeros, in the types it has; :func:`compile_sparse` makes it fast.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as :func:`read_sparse`; or names or shapes are not those of the module.

    Example:
        >>> network = compile_sparse(load_sparse("pruned.safetensors", network), image)  # doctest: +SKIP
    """
    state = read_sparse(path).state
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{str(path)!r} is of another network: {error}") from error
    return module


def _check_masks(masks: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    if not masks:
        raise ValueError(
            "masks is empty, by which no weight is sparse: pass those of the sparse fit, callback.masks after it or "
            "read_masks(checkpoint), or leave masks out to find the weights of 0"
        )
    for name, mask in masks.items():
        if name not in tensors or tensors[name].shape != mask.shape or mask.dtype != torch.bool:
            raise ValueError(f"masks[{name!r}] is {mask.dtype} {tuple(mask.shape)}; the module has no such weight")
        if bool(tensors[name][~mask.cpu()].any()):
            raise ValueError(f"{name!r} is not 0 outside its mask: apply the masks to the weights first")


def _same(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The names of tensors that are others under a second name, and those."""
    first: dict[Any, str] = {}
    place = {name: (tensor.data_ptr(), tensor.shape, tensor.stride()) for name, tensor in tensors.items()}
    names = {name: first.setdefault(place[name], name) for name, tensor in tensors.items() if tensor.numel()}
    return {name: other for name, other in names.items() if name != other}


def _cast(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    cast = tensor.to(dtype)
    if bool((cast.isinf() & tensor.isfinite()).any()):
        raise ValueError(f"{name!r} has weights up to {tensor.abs().max():.3g}, too large for {dtype}")
    return cast


def _parts(tensor: Tensor, active: Tensor) -> dict[str, Tensor]:
    codes = encode(active.flatten().numpy())
    return {"values": tensor[active], **{part: torch.from_numpy(code) for part, code in codes.items()}}


def _checksum(header: Mapping[str, str], shapes: Iterable[str], tensors: Mapping[str, Tensor]) -> str:
    """Of all that says which weights are active."""
    total = zlib.crc32(f"{header['shapes']}{header['same']}".encode())
    for code in (tensors.get(f"{name}::{part}") for name in shapes for part in CODES):
        total = total if code is None else zlib.crc32(code.numpy().tobytes(), total)
    return f"{total:08x}"


def _described(header: Mapping[str, str], names: set[str], nbytes: int) -> tuple[dict[str, list[int]], dict[str, str]]:
    """The ``shapes`` and the ``same`` of a header, if the tensors in the file are those that it speaks of.

    ``callbacks/packed_masks.py`` checks the same.
    """
    if header.get("format") != FORMAT:
        raise ValueError(f"its format is {header.get('format')!r}, not {FORMAT!r}")
    if unknown := sorted(header.keys() - {"format", "shapes", "same", "checksum"}):
        raise ValueError(f"its header has an entry {unknown[0]!r}, which the format does not know")
    shapes, same = _entry(header, "shapes"), _entry(header, "same")
    for name, shape in shapes.items():
        if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError(f"the shape of {name!r} is {shape!r}, which is no list of lengths")
        parts = sorted(part for part in ("values", *CODES) if f"{name}::{part}" in names)
        if parts not in (["bits", "values"], ["high", "low", "values"]):
            raise ValueError(f"it has {parts} of {name!r}, not values and either bits or high and low")
    entries = sum(math.prod(shape) for shape in shapes.values())
    if entries > ENTRIES_PER_BYTE * nbytes:
        raise ValueError(f"its header claims {entries} entries, more than a file of {nbytes} bytes can be of")
    whole = names - {f"{name}::{part}" for name in shapes for part in ("values", *CODES)}
    if strange := sorted(name for name in whole if "::" in name):
        raise ValueError(f"its {strange[0]!r} belongs to no weight")
    if twice := sorted(whole & shapes.keys()):
        raise ValueError(f"{twice[0]!r} is in it twice, sparse and dense")
    known = whole | shapes.keys()
    for name, other in same.items():
        if name in known or not isinstance(other, str) or other not in known:
            raise ValueError(f"{name!r} cannot be the same as {other!r}")
    return shapes, same


def _entry(header: Mapping[str, str], entry: str) -> dict[str, Any]:
    """What an entry of the header says by name."""
    try:
        value = json.loads(header[entry])
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"its header has no {entry!r} that can be read: {error!r}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{entry!r} in its header is {value!r}, which names nothing")
    return value


def _unpacked(tensors: dict[str, Tensor], shapes: Mapping[str, list[int]], same: Mapping[str, str]) -> SparseState:
    state, masks = {name: tensor for name, tensor in tensors.items() if "::" not in name}, {}
    for name, shape in shapes.items():
        values, size = tensors[f"{name}::values"], math.prod(shape)
        codes = {part: tensors[f"{name}::{part}"].numpy() for part in CODES if f"{name}::{part}" in tensors}
        try:
            if values.dim() != 1:
                raise ValueError(f"values of shape {tuple(values.shape)}, not in a row")
            positions = torch.from_numpy(decode(codes, size, len(values)))
        except ValueError as error:
            raise ValueError(f"of {name!r} it has {error}") from error
        state[name] = torch.zeros(size, dtype=values.dtype, device=CPU).index_copy_(0, positions, values).view(shape)
        masks[name] = torch.zeros(size, dtype=torch.bool, device=CPU).index_fill_(0, positions, True).view(shape)
    state.update({name: state[other] for name, other in same.items()})
    masks.update({name: masks[other] for name, other in same.items() if other in masks})
    return SparseState(state, masks)
