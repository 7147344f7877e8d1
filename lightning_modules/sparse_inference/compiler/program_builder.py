"""The builder of programs: operations are written one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..kernels import operations as o
from ..run.huge_pages import ConstantPool


class ProgramBuilder:
    """A program for the kernels while it is written.

    Attributes:
        images: how many images of a batch go through it at once.
        operations: records of :data:`.operations.OPERATION`.
        blocks: arrays of :data:`.operations.BLOCK`.
        constants: what the operations have addresses of.
        weighted: the names of layers with weights, and the numbers of their operations.
        scratch: the bytes of scratch that each thread needs.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self.operations: list[NDArray[np.void]] = []
        self.blocks: list[NDArray[np.void]] = []
        self.constants = ConstantPool()
        self.weighted: list[tuple[str, int]] = []
        self.scratch = 0

    def emit(self, kind: int, tasks: int, *maps: dict[str, int], **fields: int) -> None:
        """Write an operation, whose fields :data:`.operations.OPERATION` describes."""
        record = np.zeros((), o.OPERATION)
        record["other"] = -1
        numbers: dict[str, int] = {"kind": kind, "tasks": tasks, "images": self.images}
        for more in (*maps, fields):
            numbers |= more
        for name, number in numbers.items():
            record[name] = number
        self.operations.append(record)

    def emit_weighted(self, name: str, kind: int, tasks: int, *maps: dict[str, int], **fields: int) -> None:
        """Write the operation of a layer with weights."""
        self.weighted.append((name, len(self.operations)))
        self.emit(kind, tasks, *maps, **fields)

    def address(self, constant: NDArray[Any] | Tensor | None) -> int:
        """Keep a constant and return its address; return 0 for None.

        Raises:
            TypeError: the constant has floats of a size that no kernel reads.
        """
        if constant is None:
            return 0
        array = constant.numpy() if isinstance(constant, Tensor) else constant
        if array.dtype.kind == "f" and array.dtype != np.float32:
            raise TypeError(f"a constant is {array.dtype}; kernels read float32")
        return self.constants.add(array)

    def need_scratch(self, size: int) -> None:
        """Make sure that each thread has so many bytes of scratch."""
        self.scratch = max(self.scratch, size)
