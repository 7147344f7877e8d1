"""Layers that run in one call of the kernels."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..graph.trace import Value
from .huge_pages import zeros
from .kernel_cache import load_kernels
from .surroundings import CPU
from .workers import workers

PLAIN = (Tensor, nn.Parameter)
"""Types of tensors whose numbers lie in memory as they say; other subclasses may hold them anywhere."""


class Memory(NamedTuple):
    """Something in memory, and where the kernels begin to use it."""

    kept: NDArray[Any]
    address: int


@dataclass
class Workspace:
    """Memory of one run at a time, and of each thread's own; counters for runs of a single thread."""

    memory: Memory
    counters: Memory
    scratches: list[Memory]


@dataclass
class Stage:
    """A program for the kernels.

    Args:
        operations: :data:`.operations.OPERATION`.
        blocks: :data:`.operations.BLOCK`.
        loads: values it begins with, by slot, and their shapes.
        stores: values it makes, in the slots that follow, and their shapes.
        images: of a batch that go through it at once.
        memory: bytes of a workspace.
        scratch: bytes of a thread's own.
        lanes: floats in a vector.
        constants: what the program has addresses of.
        weighted: names of layers with weights, and the numbers of their operations.
    """

    operations: NDArray[np.void]
    blocks: NDArray[np.void]
    loads: list[tuple[Value, tuple[int, ...]]]
    stores: list[tuple[Value, tuple[int, ...]]]
    images: int
    memory: int
    scratch: int
    lanes: int
    constants: list[NDArray[Any]]
    weighted: list[tuple[str, int]]
    idle: list[Workspace] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.run = load_kernels(self.lanes)
        self._shapes = [shape for _, shape in (*self.loads, *self.stores)]
        self._operations, self._blocks = _there(self.operations), _there(self.blocks)

    def __call__(self, inputs: Sequence[Tensor], threads: int) -> list[Tensor]:
        """The tensors that are stored, for those that are loaded; several threads may call this at once.

        Raises:
            TypeError: a tensor is not as the kernels take it.
            ValueError: it has no memory.
        """
        outputs = [torch.empty(shape, dtype=torch.float32, device=CPU) for _, shape in self.stores]
        inputs = [tensor.contiguous() for tensor in inputs]
        tensors = array("q", map(_checked, (*inputs, *outputs), self._shapes))
        batch = self._shapes[0][0]
        firsts = range(0, batch, self.images)
        if len(firsts) < threads or threads == 1:
            for first in firsts:
                self._together(tensors, first, batch, threads, self._operations)
        else:
            self._side_by_side(tensors, firsts, batch, threads)
        return outputs

    def seconds(self, number: int, threads: int) -> float:
        """That one operation takes, which neither loads nor stores, on whatever it finds in memory."""
        operation = self.operations[number : number + 1].copy()
        operation["chained"] = 0
        begun = time.perf_counter()
        self._together(array("q"), 0, self.images, threads, _there(operation))
        return time.perf_counter() - begun

    def _together(self, tensors: array[int], first: int, batch: int, threads: int, operations: Memory) -> None:
        """All threads on the same images."""
        workspace = self._workspace(threads)
        if threads == 1:
            self._run(tensors, first, batch, workspace, operations)
        else:
            counters = _counters(operations, threads)  # new ones, since a helper may come when all is long done

            def work(number: int) -> None:
                self._run(tensors, first, batch, workspace, operations, counters, number, threads)

            workers.help(work, threads - 1)
            work(0)
        self._put_back(workspace)

    def _side_by_side(self, tensors: array[int], firsts: range, batch: int, threads: int) -> None:
        """Each thread on images of its own."""
        numbers, left = count(), threading.Semaphore(0)

        def work(_: int) -> None:
            workspace = self._workspace(1)
            while (number := next(numbers)) < len(firsts):
                self._run(tensors, firsts[number], batch, workspace, self._operations)
                left.release()
            self._put_back(workspace)

        workers.help(work, threads - 1)
        work(0)
        for _ in firsts:
            left.acquire()

    def _run(
        self,
        tensors: array[int],
        first: int,
        batch: int,
        workspace: Workspace,
        operations: Memory,
        counters: Memory | None = None,
        number: int = 0,
        threads: int = 1,
    ) -> None:
        """A thread's share; a single thread needs no ``counters`` but those of the workspace."""
        if counters is None:
            counters = workspace.counters
            counters.kept.fill(0)
        valid = min(self.images, batch - first)
        program = (operations.address, len(operations.kept), self._blocks.address)
        share = (counters.address, number, threads, tensors.buffer_info()[0], first, valid)
        call = array("q", (*program, *share, workspace.memory.address, workspace.scratches[number].address))
        self.run(call.buffer_info()[0])

    def _workspace(self, threads: int) -> Workspace:
        with self.lock:
            workspace = self.idle.pop() if self.idle else None
        workspace = workspace or Workspace(_placed(zeros(self.memory)), _counters(self._operations, 1), [])
        while len(workspace.scratches) < threads:
            workspace.scratches.append(_placed(np.zeros(self.scratch + 64, np.uint8)))
        return workspace

    def _put_back(self, workspace: Workspace) -> None:
        with self.lock:
            self.idle.append(workspace)


def _checked(tensor: Tensor, shape: tuple[int, ...]) -> int:
    """Where the kernels, which ask nothing, read or write a tensor: only of one that is as they take it."""
    whole = tensor.shape == shape and tensor.is_contiguous()
    if not (whole and type(tensor) in PLAIN and tensor.dtype == torch.float32 and tensor.is_cpu):
        raise TypeError(
            f"the kernels need a contiguous Tensor of torch.float32 on cpu, {tuple(shape)}, and torch made a "
            f"{type(tensor).__name__} of {tensor.dtype} on {tensor.device}, {tuple(tensor.shape)}: call the "
            "SparseModel outside of modes that change what torch makes, with torch.float32 as the default dtype"
        )
    return address(tensor)


def address(tensor: Tensor) -> int:
    """Where the numbers of a tensor are.

    Raises:
        ValueError: nowhere.
    """
    try:
        found = tensor.data_ptr()
    except RuntimeError:  # inside of torch.func
        found = 0
    if found:
        return found
    raise ValueError(
        f"a tensor of shape {tuple(tensor.shape)} has no memory of its own, as inside of vmap and other transforms of "
        "torch.func, or once its storage was resized to nothing: call the SparseModel on the batch itself"
    )


def _counters(operations: Memory, threads: int) -> Memory:
    return _placed(np.zeros(64 * (threads + 1) * len(operations.kept) + 64, np.uint8))


def _there(records: NDArray[np.void]) -> Memory:
    return Memory(records, records.ctypes.data)


def _placed(room: NDArray[np.uint8]) -> Memory:
    """From the first whole cache line on."""
    return Memory(room, -(-room.ctypes.data // 64) * 64)
