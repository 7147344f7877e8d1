"""Masks in the files of sparse networks, as ``lightning_modules.sparse_inference.save_sparse`` writes them.

The library folders never import one another: this reads the format from its description there.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..sparsity import Masks
from ..sparsity.masks.packing import unpack

FORMAT = "sparse-lightning 1"


def is_packed(path: str | Path) -> bool:
    """Whether a file is in the safetensors format, by its first bytes: a length, then JSON."""
    with Path(path).open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_packed_masks(path: str | Path) -> Masks:
    """The masks of a file of a sparse network; its values are not read.

    Raises:
        ValueError: the file is damaged, or ``save_sparse`` has not written it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(f"its format is {header.get('format')!r}, not {FORMAT!r}")
            names, masks = set(file.keys()), {}
            for name, shape in json.loads(header["shapes"]).items():
                if f"{name}::bits" in names:
                    masks[name] = unpack(file.get_tensor(f"{name}::bits"), torch.Size(shape))
                else:
                    high, low = file.get_tensor(f"{name}::high"), file.get_tensor(f"{name}::low")
                    count = file.get_slice(f"{name}::values").get_shape()[0]
                    masks[name] = _positions_to_mask(high, low, torch.Size(shape), count)
        masks.update({name: masks[other] for name, other in json.loads(header["same"]).items() if other in masks})
        return Masks(masks)
    except (SafetensorError, KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as a file of save_sparse: {error}") from error


def _positions_to_mask(high: Tensor, low: Tensor, shape: torch.Size, count: int) -> Tensor:
    """Elias-Fano: a position's lowest digits are in ``low``, the zeros before its one in ``high`` count the rest."""
    digits = max((shape.numel() // max(count, 1)).bit_length() - 1, 0)
    ends = unpack(high, torch.Size([count + (shape.numel() >> digits) + 1])).nonzero().flatten()
    if len(ends) != count or len(low) != max(digits, 1):
        raise ValueError(f"{len(ends)} positions of {len(low)} low digits where {count} of {digits} belong")
    positions = (ends - torch.arange(count)) << digits
    for digit in range(digits):
        positions |= unpack(low[digit], torch.Size([count])).long() << digit
    return torch.zeros(shape.numel(), dtype=torch.bool).index_fill_(0, positions, True).view(shape)
