"""A program for the kernels, as it is written."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..kernels import operations as o
from ..run.huge_pages import Shelf


class Program:
    """Operations, what they have addresses of, and the scratch that they need."""

    def __init__(self, images: int) -> None:
        self.images = images
        self.operations: list[NDArray[np.void]] = []
        self.blocks: list[NDArray[np.void]] = []
        self.constants = Shelf()
        self.weighted: list[tuple[str, int]] = []
        self.scratch = 0

    def emit(self, kind: int, tasks: int, *maps: dict[str, int], **fields: int) -> None:
        """Write an operation; see :data:`.operations.OPERATION`."""
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
        """Where the kernels find a constant, which is kept; 0 for None.

        Raises:
            TypeError: it has floats of a size that no kernel reads.
        """
        if constant is None:
            return 0
        array = constant.numpy() if isinstance(constant, Tensor) else constant
        if array.dtype.kind == "f" and array.dtype != np.float32:
            raise TypeError(f"a constant is {array.dtype}; kernels read float32")
        return self.constants.put(array)

    def need_scratch(self, size: int) -> None:
        self.scratch = max(self.scratch, size)
