"""Checks of what a SparseModel is given: the module, images, and the width of vectors."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from .kernels.processor import widest_vector


def choose_vector_width(vector_width: int | None, lanes: int | None) -> int:
    """Return the width that was given under its present or its earlier name, or that of this machine."""
    if lanes is not None:
        warn_of_lanes(stacklevel=4)
    given = vector_width if lanes is None else lanes
    width = widest_vector() if given is None else given
    if width not in (4, 8, 16):
        raise ValueError(f"vector_width is {width}; a vector has 4, 8 or 16 floats")
    return width


def warn_of_lanes(stacklevel: int) -> None:
    """Warn of the earlier name of ``vector_width``."""
    message = "lanes is deprecated and will not work in the next release; use vector_width"
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)


def check_module(module: nn.Module) -> None:
    """Check that a module is as the kernels take it."""
    for name, part in module.named_modules():
        if part.training:
            raise ValueError(f"{f'{name!r} of ' if name else ''}the module is in train mode: call module.eval() first")
    parameters = dict(module.named_parameters())
    for name, tensor in (*parameters.items(), *module.named_buffers()):
        if not tensor.is_cpu or (name in parameters and tensor.dtype != torch.float32):
            raise ValueError(f"{name!r} is {tensor.dtype} on {tensor.device}: call module.float().cpu() first")


def check_input(image: Any) -> None:
    """Check that an image is as the kernels take it."""
    if not isinstance(image, Tensor) or image.dtype != torch.float32:
        kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f"the input is {kind}; a SparseModel takes a torch.float32 tensor: convert it with .float()")
    if image.is_nested:
        raise TypeError("the input is a nested tensor; a SparseModel takes images of one size: call it once a size")
    if not image.is_cpu or image.layout != torch.strided:
        way = ".to_dense()" if image.is_cpu else ".cpu()"
        raise ValueError(f"the input is on {image.device}, {image.layout}; a SparseModel runs on the CPU: use {way}")
