"""The layers of a network: those that kernels exist for, and calls of torch for all else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .trace import Call, Value


@dataclass
class Layer:
    """A layer, which makes the tensor ``output`` of the tensors ``inputs``."""

    output: Value

    @property
    def inputs(self) -> list[Value]:
        """Return the values that the layer reads."""
        raise NotImplementedError


@dataclass
class Unary(Layer):
    """A layer that reads the tensor ``source``."""

    source: Value

    @property
    def inputs(self) -> list[Value]:
        return [self.source]


@dataclass
class Convolution(Unary):
    """A 2-d convolution, or a linear layer as one of 1x1; then the residual is added, then ReLU applied.

    ``weight`` has the shape (out, in / groups, height, width); pairs are (vertical, horizontal).
    """

    name: str
    weight: Tensor
    bias: Tensor
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    residual: Value | None = None
    relu: bool = False

    @property
    def inputs(self) -> list[Value]:
        return [self.source] if self.residual is None else [self.source, self.residual]

    @cached_property
    def density(self) -> float:
        """Return the share of weights that are not 0."""
        return int(np.count_nonzero(self.weight.numpy() != 0)) / self.weight.numel()


@dataclass
class Affine(Unary):
    """The layer ``source * scale + shift + other`` with ReLU; scale and shift have one number for each channel."""

    scale: Tensor | None = None
    shift: Tensor | None = None
    other: Value | None = None
    relu: bool = False

    @property
    def inputs(self) -> list[Value]:
        return [self.source] if self.other is None else [self.source, self.other]


@dataclass
class Pool(Unary):
    """The maximum over windows of pixels, or the average unless ``largest``; pairs are (vertical, horizontal)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    largest: bool = True


@dataclass
class Mean(Unary):
    """The mean over all pixels of each channel."""


@dataclass
class Flatten(Unary):
    """The layer that makes a channel of each pixel of each channel."""


@dataclass
class Resize(Unary):
    """Bilinear interpolation: ``rows`` and ``columns`` say at which real number of the source each of the output is."""

    rows: Tensor
    columns: Tensor


@dataclass
class Channels(Unary):
    """The channels ``first`` and following of the source, which is no work."""

    first: int = 0


@dataclass
class Concatenation(Layer):
    """The channels of all ``sources`` one after the other; a source is a value, or a number of channels of zeros."""

    sources: list[Value | int]

    @property
    def inputs(self) -> list[Value]:
        return [source for source in self.sources if isinstance(source, Value)]


@dataclass
class Fallback(Layer):
    """A call that torch runs, and the reason for it."""

    call: Call
    reason: str

    @property
    def inputs(self) -> list[Value]:
        return self.call.inputs


def channel_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (channels, height, width) of a tensor (images, channels) or (images, channels, height, width)."""
    return (shape[1], 1, 1) if len(shape) == 2 else (shape[1], shape[2], shape[3])


def is_map(shape: tuple[int, ...], dtype: torch.dtype, images: int) -> bool:
    """Return whether kernels can hold a tensor."""
    return len(shape) in (2, 4) and shape[0] == images and 0 not in shape and dtype == torch.float32
