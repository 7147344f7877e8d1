"""The one function that runs a whole program, and its compilation by numba."""

from __future__ import annotations

from typing import Any

import numba
from numba import types

from . import map_kernels as maps
from . import operations as o
from .convolution_kernels import convolve
from .dot_kernels import dot
from .machine_code import MachineCode
from .map_kernels import inlined
from .memory import count, count_up, operation_at, peek_long
from .target import check_target

_OPERATION = o.OPERATION.itemsize
_step_aside = types.ExternalFunction("sched_yield", types.int32())


def compile_kernels(vector_width: int) -> MachineCode:
    """Compile :data:`.machine_code.Run` for vectors of ``vector_width`` floats, which takes seconds.

    Raises:
        UnfitTargetError: the settings of numba forbid it.
    """
    check_target(vector_width)
    compiled: Any = numba.cfunc(types.void(types.int64), nogil=True, error_model="numpy")(
        _runner((None,) * vector_width)
    )
    library = compiled._library  # numba's own cache keeps the object file of this too
    names = [*library._final_module.functions, *library._final_module.global_variables]
    externals = [it.name for it in names if it.is_declaration and not it.name.startswith("llvm.")]
    return MachineCode(compiled.native_name, externals, library._get_compiled_object())


def _runner(lanes: tuple[None, ...]) -> Any:
    """Return :data:`.machine_code.Run` in Python, for vectors of as many floats as there are ``lanes``."""

    def run(call):  # type: ignore
        operations, length, blocks = peek_long(call), peek_long(call + 8), peek_long(call + 16)
        counters, number, threads = peek_long(call + 24), peek_long(call + 32), peek_long(call + 40)
        tensors, first, valid = peek_long(call + 48), peek_long(call + 56), peek_long(call + 64)
        memory, scratch = peek_long(call + 72), peek_long(call + 80)
        i = 0
        while i < length:
            last = i
            while operation_at(operations + _OPERATION * last).chained:
                last += 1
            tasks, done = operation_at(operations + _OPERATION * i).tasks, counters + 64 * (threads + 1) * i
            for turn in range(threads):
                owner = (number + turn) % threads
                begin, end = tasks * owner // threads, tasks * (owner + 1) // threads
                task = begin + count_up(done + 64 * (owner + 1))
                while task < end:
                    for j in range(i, last + 1):
                        op = operation_at(operations + _OPERATION * j)
                        _perform(op, blocks, task, tensors, first, valid, memory, scratch, lanes)
                    count_up(done)
                    task = begin + count_up(done + 64 * (owner + 1))
            waited = 0
            while count(done) < tasks:
                waited += 1
                if waited % 64 == 0:
                    _step_aside()
            i = last + 1

    return run


@inlined
def _perform(op, blocks, task, tensors, first, valid, memory, scratch, lanes):  # type: ignore
    """Do one task of an operation."""
    start, stop = op.channels * task // op.tasks, op.channels * (task + 1) // op.tasks
    if op.kind == o.CONVOLUTION:
        convolve(op, blocks, task, memory, scratch, lanes)
    elif op.kind == o.DOT:
        dot(op, start, stop, memory, scratch, lanes)
    elif op.kind == o.AFFINE:
        maps.scale_and_add(op, start, stop, memory, lanes)
    elif op.kind == o.MAXIMUM or op.kind == o.AVERAGE:
        maps.pool(op, start, stop, memory, scratch, lanes)
    elif op.kind == o.MEAN:
        maps.mean(op, start, stop, memory)
    elif op.kind == o.FLATTEN:
        maps.flatten(op, start, stop, memory)
    elif op.kind == o.RESIZE:
        maps.resize(op, start, stop, memory, scratch, lanes)
    elif op.kind == o.LOAD:
        maps.load(op, start, stop, peek_long(tensors + 8 * op.slot), first, valid, memory, lanes)
    else:
        maps.store(op, start, stop, peek_long(tensors + 8 * op.slot), first, valid, memory, lanes)
