"""A program: layers that run in one call of the kernels."""

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
"""The types of tensors that hold their numbers in their own memory; other subclasses may hold them anywhere."""


class Memory(NamedTuple):
    """An array, and the address from which on the kernels use it."""

    array: NDArray[Any]
    address: int


@dataclass
class Workspace:
    """The memory of one run at a time.

    Attributes:
        memory: the maps of activations.
        counters: the counters for runs of a single thread.
        scratches: the scratch of each thread.
    """

    memory: Memory
    counters: Memory
    scratches: list[Memory]


@dataclass
class Program:
    """A program for the kernels, which several threads may run at once.

    Args:
        operations: records of :data:`.operations.OPERATION`.
        blocks: records of :data:`.operations.BLOCK`.
        loads: the values that it begins with, by slot, and their shapes.
        stores: the values that it makes, in the slots that follow, and their shapes.
        images: how many images of a batch go through it at once.
        memory: the bytes of a workspace.
        scratch: the bytes of each thread's scratch.
        vector_width: the floats in a vector.
        constants: the arrays that the program has addresses of.
        weighted: the names of layers with weights, and the numbers of their operations.
    """

    operations: NDArray[np.void]
    blocks: NDArray[np.void]
    loads: list[tuple[Value, tuple[int, ...]]]
    stores: list[tuple[Value, tuple[int, ...]]]
    images: int
    memory: int
    scratch: int
    vector_width: int
    constants: list[NDArray[Any]]
    weighted: list[tuple[str, int]]
    idle: list[Workspace] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.run = load_kernels(self.vector_width)
        self._shapes = [shape for _, shape in (*self.loads, *self.stores)]
        self._operations, self._blocks = _memory_of(self.operations), _memory_of(self.blocks)

    def __call__(self, inputs: Sequence[Tensor], threads: int) -> list[Tensor]:
        """Return the tensors that are stored, for those that are loaded.

        Raises:
            TypeError: a tensor is not as the kernels take it.
            ValueError: a tensor has no memory.
        """
        outputs = [torch.empty(shape, dtype=torch.float32, device=CPU) for _, shape in self.stores]
        inputs = [tensor.contiguous() for tensor in inputs]
        tensors = array("q", map(_checked_address, (*inputs, *outputs), self._shapes))
        batch = self._shapes[0][0]
        firsts = range(0, batch, self.images)
        if len(firsts) < threads or threads == 1:
            for first in firsts:
                self._share_images(tensors, first, batch, threads, self._operations)
        else:
            self._split_images(tensors, firsts, batch, threads)
        return outputs

    def seconds(self, number: int, threads: int) -> float:
        """Return the seconds that one operation takes, which neither loads nor stores, on whatever is in memory."""
        operation = self.operations[number : number + 1].copy()
        operation["chained"] = 0
        begun = time.perf_counter()
        self._share_images(array("q"), 0, self.images, threads, _memory_of(operation))
        return time.perf_counter() - begun

    def _share_images(self, tensors: array[int], first: int, batch: int, threads: int, operations: Memory) -> None:
        """Let all threads work on the same images."""
        workspace = self._workspace(threads)
        if threads == 1:
            self._run(tensors, first, batch, workspace, operations)
        else:
            # The counters are new ones, since a helper may come when all has long been done.
            counters = _counters(operations, threads)

            def work(number: int) -> None:
                self._run(tensors, first, batch, workspace, operations, counters, number, threads)

            workers.help(work, threads - 1)
            work(0)
        self._put_back(workspace)

    def _split_images(self, tensors: array[int], firsts: range, batch: int, threads: int) -> None:
        """Let each thread work on images of its own."""
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
        """Do a thread's share; a single thread needs no ``counters`` but those of the workspace."""
        if counters is None:
            counters = workspace.counters
            counters.array.fill(0)
        valid = min(self.images, batch - first)
        program = (operations.address, len(operations.array), self._blocks.address)
        share = (counters.address, number, threads, tensors.buffer_info()[0], first, valid)
        call = array("q", (*program, *share, workspace.memory.address, workspace.scratches[number].address))
        self.run(call.buffer_info()[0])

    def _workspace(self, threads: int) -> Workspace:
        """Return a workspace that no other run uses, with a scratch for each thread."""
        with self.lock:
            workspace = self.idle.pop() if self.idle else None
        workspace = workspace or Workspace(_aligned(zeros(self.memory)), _counters(self._operations, 1), [])
        while len(workspace.scratches) < threads:
            workspace.scratches.append(_aligned(np.zeros(self.scratch + 64, np.uint8)))
        return workspace

    def _put_back(self, workspace: Workspace) -> None:
        """Keep a workspace for other runs."""
        with self.lock:
            self.idle.append(workspace)


def _checked_address(tensor: Tensor, shape: tuple[int, ...]) -> int:
    """Return the address of a tensor that is as the kernels take it: they check nothing themselves."""
    fits = tensor.shape == shape and tensor.is_contiguous()
    if not (fits and type(tensor) in PLAIN and tensor.dtype == torch.float32 and tensor.is_cpu):
        raise TypeError(
            f"the kernels need a contiguous Tensor of torch.float32 on cpu, {tuple(shape)}, and torch made a "
            f"{type(tensor).__name__} of {tensor.dtype} on {tensor.device}, {tuple(tensor.shape)}: call the "
            "SparseModel outside of modes that change what torch makes, with torch.float32 as the default dtype"
        )
    return address(tensor)


def address(tensor: Tensor) -> int:
    """Return the address of the numbers of a tensor.

    Raises:
        ValueError: the tensor has no memory of its own.
    """
    try:
        pointer = tensor.data_ptr()
    except RuntimeError:  # inside of torch.func
        pointer = 0
    if pointer:
        return pointer
    raise ValueError(
        f"a tensor of shape {tuple(tensor.shape)} has no memory of its own, as inside of vmap and other transforms of "
        "torch.func, or once its storage was resized to nothing: call the SparseModel on the batch itself"
    )


def _counters(operations: Memory, threads: int) -> Memory:
    """Return counters for a run of these operations by so many threads."""
    return _aligned(np.zeros(64 * (threads + 1) * len(operations.array) + 64, np.uint8))


def _memory_of(records: NDArray[np.void]) -> Memory:
    """Return an array of records as memory."""
    return Memory(records, records.ctypes.data)


def _aligned(buffer: NDArray[np.uint8]) -> Memory:
    """Return an array as memory that is used from its first whole cache line on."""
    return Memory(buffer, -(-buffer.ctypes.data // 64) * 64)
