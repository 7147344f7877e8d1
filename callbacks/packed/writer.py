"""The writer of packed files: a network without its inactive weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..files.safe_files import whole_file
from .checksums import of_tensor
from .header import Header, write_header
from .positions import encode


def save_sparse(
    module: nn.Module,
    path: str | Path,
    *,
    masks: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a module's ``state_dict`` without the inactive weights; the file is whole or not there.

    At 90 % sparsity a position takes 0.52 bits, 1.12 times the least possible. :mod:`callbacks.packed` describes the
    format.

    ``SparseTraining(masks_from=path)`` and ``read_masks`` read the masks.

    Args:
        module: the module, on any device.
        path: the file, which is overwritten; ``.safetensors`` is its usual ending.
        masks: bool tensors, True = active, by parameter name. By default the weights of a parameter other than 0 are
            active, where that makes the file smaller. A sparse run's own masks also keep active weights that are 0.
        dtype: the type of parameters of two or more dimensions in the file; by default it is their own.

    Raises:
        ValueError: ``masks`` is empty; a mask has no parameter of its name and shape, or the parameter is not 0 outside
            it; ``dtype`` is not a floating type, or a weight is too large for it; a name has ``::`` in it.
    """
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"dtype is {dtype}; it is a floating type, such as torch.float16")
    kernels = {name for name, parameter in module.named_parameters(remove_duplicate=False) if parameter.dim() > 1}
    tensors = _tensors(module)
    same = _same(tensors)  # found where they are: copies of one weight lie in different places
    tensors = {name: tensor.cpu() for name, tensor in tensors.items()}
    masks = None if masks is None else _checked_masks(masks, tensors, same)
    written, shapes = dict[str, Tensor](), dict[str, list[int]]()
    for name in (name for name in tensors if name not in same):
        tensor = _cast(name, tensors[name], dtype) if name in kernels and dtype else tensors[name]
        active = masks.get(name) if masks is not None else tensors[name] != 0 if name in kernels else None
        if active is not None:
            values, code = tensor[active.cpu()], encode(active.cpu().flatten())
            size = values.nbytes + sum(part.nbytes for part in code.values())
            if masks is not None or size < tensor.nbytes:
                written.update({f"{name}::{part}": value for part, value in {"values": values, **code}.items()})
                shapes[name] = list(tensor.shape)
                continue
        written[name] = tensor.clone(memory_format=torch.contiguous_format)
    header = Header(shapes, same, {key: of_tensor(key, tensor) for key, tensor in written.items()})
    with whole_file(Path(path)) as part_file:
        save_file(written, part_file, write_header(header))


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return what is in a module's ``state_dict``."""
    tensors = dict[str, Tensor]()
    for name, value in module.state_dict().items():
        if "::" in name:
            raise ValueError(f"{name!r} has '::' in its name, which the file needs for its own names: rename it")
        if type(value) is not Tensor and not isinstance(value, nn.Parameter):
            raise ValueError(
                f"{name!r} in the state_dict is a {type(value).__name__}, and the file holds plain tensors alone: save "
                "what get_extra_state returns in a file of its own, gather shards, and turn quantized weights back"
            )
        if value.is_meta or value.layout is not torch.strided:
            raise ValueError(f"{name!r} is on {value.device} as {value.layout}; the file holds values of dense tensors")
        tensors[name] = value.detach()
    return tensors


def _checked_masks(
    masks: Mapping[str, Tensor], tensors: Mapping[str, Tensor], same: Mapping[str, str]
) -> dict[str, Tensor]:
    """Return the masks by the first names of their weights, each of a tensor that is 0 outside it."""
    if not masks:
        raise ValueError(
            "masks is empty, by which no weight is sparse: pass those of the sparse fit, callback.masks after it or "
            "read_masks(checkpoint), or leave masks out to find the weights of 0"
        )
    checked: dict[str, Tensor] = {}
    for name, mask in masks.items():
        if name not in tensors or tensors[name].shape != mask.shape or mask.dtype != torch.bool:
            raise ValueError(f"masks[{name!r}] is {mask.dtype} {tuple(mask.shape)}; the module has no such weight")
        if bool((tensors[name][~mask.cpu()] != 0).any()):
            raise ValueError(f"{name!r} is not 0 outside its mask: apply the masks to the weights first")
        first = same.get(name, name)
        if not torch.equal(checked.setdefault(first, mask), mask):
            raise ValueError(f"{name!r} and {first!r} are one weight, but masks has two masks of it")
    return checked


def _same(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the names of tensors that are others under a second name, with the names of those."""
    first: dict[Any, str] = {}
    memory = {name: (tensor.data_ptr(), tensor.shape, tensor.stride()) for name, tensor in tensors.items()}
    names = {name: first.setdefault(memory[name], name) for name, tensor in tensors.items() if tensor.numel()}
    return {name: other for name, other in names.items() if name != other}


def _cast(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor in another type that is large enough for it."""
    cast = tensor.to(dtype)
    if bool((cast.isinf() & tensor.isfinite()).any()):
        raise ValueError(f"{name!r} has weights up to {tensor.abs().max():.3g}, too large for {dtype}")
    return cast
