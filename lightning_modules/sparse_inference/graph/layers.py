"""What a plan is made of: the layers that kernels exist for, and calls of torch for all else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .trace import Call, Value


@dataclass
class Layer:
    """Makes the tensor ``output`` of the tensors ``inputs``."""

    output: Value

    @property
    def inputs(self) -> list[Value]:
        raise NotImplementedError


@dataclass
class Unary(Layer):
    source: Value

    @property
    def inputs(self) -> list[Value]:
        return [self.source]


@dataclass
class Convolution(Unary):
    """A 2-d convolution, or a linear layer as one of 1x1; then the residual is added, then ReLU.

    ``weight`` is (out, in / groups, height, width); pairs are (vertical, horizontal).
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
        """Share of weights that are not 0."""
        return int(np.count_nonzero(self.weight.numpy() != 0)) / self.weight.numel()


@dataclass
class Affine(Unary):
    """``source * scale + shift + other`` with ReLU; scale and shift have a number a channel."""

    scale: Tensor | None = None
    shift: Tensor | None = None
    other: Value | None = None
    relu: bool = False

    @property
    def inputs(self) -> list[Value]:
        return [self.source] if self.other is None else [self.source, self.other]


@dataclass
class Pool(Unary):
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    largest: bool = True


@dataclass
class Mean(Unary):
    """Over all pixels."""


@dataclass
class Flatten(Unary):
    """Pixels of all channels become channels."""


@dataclass
class Resize(Unary):
    """Between which two rows, or columns, each of the output lies, as a real number: ``rows``, ``columns``."""

    rows: Tensor
    columns: Tensor


@dataclass
class Channels(Unary):
    """Channels ``first`` and following; no work."""

    first: int = 0


@dataclass
class Concatenation(Layer):
    """Channels of all ``sources``, which are values, or numbers of zero channels."""

    sources: list[Value | int]

    @property
    def inputs(self) -> list[Value]:
        return [source for source in self.sources if isinstance(source, Value)]


@dataclass
class Fallback(Layer):
    """A call that torch runs, and why."""

    call: Call
    reason: str

    @property
    def inputs(self) -> list[Value]:
        return self.call.inputs


def channel_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(channels, height, width) of a tensor (images, channels) or (images, channels, height, width)."""
    return (shape[1], 1, 1) if len(shape) == 2 else (shape[1], shape[2], shape[3])


def is_map(shape: tuple[int, ...], dtype: torch.dtype, images: int) -> bool:
    """Whether kernels can hold a tensor."""
    return len(shape) in (2, 4) and shape[0] == images and 0 not in shape and dtype == torch.float32
