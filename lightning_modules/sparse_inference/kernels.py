"""Convolutions and linear layers, and the one function that runs a whole plan; compiled by numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import types

from . import map_kernels as maps
from . import operations as o
from .dot_kernels import dot
from .inner_loops import dense_row, dense_rows, direct_row, move, sparse_row
from .memory import block_at, count, count_up, fetch, operation_at, peek, peek_int, peek_long, poke_long
from .target import check_target
from .tiles import DENSE_ROWS, first_row

_OPERATION, _BLOCK = o.OPERATION.itemsize, o.BLOCK.itemsize
_step_aside = types.ExternalFunction("sched_yield", types.int32())

# LLVM optimizes what a function calls once more with it: the fewer levels, the sooner all is compiled
_inlined: Callable[[Callable[..., Any]], Any] = numba.njit(nogil=True, error_model="numpy", inline="always")


_first_row = maps.compiled(first_row)


@maps.compiled
def _segments(op, first, size, scratch, lanes):  # type: ignore
    """Rows of output pixels in a tile, as (place in a panel row, place in a source, vectors); returns how many."""
    found = 0
    position, end = first * len(lanes), (first + size) * len(lanes)
    while position < end:
        row, x = position // op.target_row, position % op.target_row
        image, y = row // op.target_rows, row % op.target_rows
        length = min(op.target_width - x, end - position)
        if y < op.target_height and image < op.images and length > 0:
            entry = scratch + 24 * found
            poke_long(entry, 4 * (position - first * len(lanes)))
            poke_long(entry + 8, 4 * ((image * op.source_rows + y * op.stride_down) * op.source_row + x * op.stride))
            poke_long(entry + 16, (length + len(lanes) - 1) // len(lanes))
            found += 1
        position += op.target_row - x
    return found


@maps.compiled
def _pack(op, sources, number, first, size, memory, scratch, lanes):  # type: ignore
    """Copy what a tile reads of each source to a row of the panel; what a row has too much, the next overwrites."""
    panel = scratch + o.SEGMENT_BYTES
    vector = 4 * len(lanes)
    if op.same:
        for j in range(number):
            source = memory + op.source + 4 * peek_int(sources + 4 * j) + first * vector
            for t in range(size):
                move(lanes, panel + j * op.panel + t * vector, source + t * vector, 1)
        return
    found = _segments(op, first, size, scratch, lanes)
    for j in range(number):
        source = memory + op.source + 4 * peek_int(sources + 4 * j)
        for s in range(found):
            out, start = panel + j * op.panel + peek_long(scratch + 24 * s), source + peek_long(scratch + 24 * s + 8)
            for t in range(peek_long(scratch + 24 * s + 16)):
                move(lanes, out + t * vector, start + t * vector * op.stride, op.stride)


@maps.compiled
def _part(size):  # type: ignore
    """The largest of ``TILES`` that fits."""
    return 8 if size >= 8 else 4 if size >= 4 else 2 if size >= 2 else 1


@maps.compiled
def _sparse_rows(op, block, start, stop, tile, base, memory, place, lanes):  # type: ignore
    # numbers of their own: those in memory would be read anew after all that a row has written
    index, values, biases, plane, direct = op.index, op.values, op.bias, op.target_plane, op.form == o.DIRECT_SPARSE
    first, relu, mask = block.first, op.relu if block.last else 0, op.mask + place if block.last else 0
    at = 4 * (block.pointers + start - block.row_start)
    pointers, rows = op.pointers + at, op.rows + at
    outs = memory + op.target + place
    residuals, residual_plane = 0, 0
    if first and op.other >= 0:
        residuals, residual_plane = memory + op.other + place, op.other_plane
    k = peek_int(pointers)
    for _ in range(start, stop):
        row, ahead = peek_int(rows), peek_int(rows + 4 * o.ROWS_AHEAD)
        pointers += 4
        rows += 4
        end = peek_int(pointers)
        out, residual = outs + row * plane, residuals + row * residual_plane
        fetch(outs + ahead * plane)
        if residual:
            fetch(residuals + ahead * residual_plane)
        number, own, bias = end - k, values + 4 * k, peek(biases + 4 * row)
        if not direct:
            sparse_row(lanes, tile, base, index + 2 * k, own, number, out, bias, first, residual, relu, mask)
        else:
            done = 0
            while done < tile:
                part, byte = _part(tile - done), 4 * done * len(lanes)
                more, here = residual + byte if residual else 0, out + byte
                direct_row(
                    lanes, part, base + byte, index + 4 * k, own, number, here, bias, first, more, relu, mask + byte
                )
                done += part
        k = end


@maps.compiled
def _dense_rows(op, block, start, stop, tile, base, step, memory, place, lanes):  # type: ignore
    """All rows for a part of the tile, then for the next."""
    done = 0
    while done < tile:
        part, byte = _part(tile - done), 4 * done * len(lanes)
        row = start
        while row < stop:
            out = memory + op.target + row * op.target_plane + place + byte
            other = memory + op.other + row * op.other_plane + place + byte if block.first and op.other >= 0 else 0
            relu = op.relu if block.last else 0
            mask = op.mask + place + byte if block.last else 0
            values = op.values + 4 * (block.values + (row - block.row_start) * block.count)
            args = (values, block.count, out, op.target_plane, op.bias + 4 * row, block.first, other, relu, mask)
            if row + DENSE_ROWS <= block.row_stop:
                dense_rows(lanes, part, base + byte, step, *args)
                row += DENSE_ROWS
            else:
                dense_row(lanes, part, base + byte, step, *args)
                row += 1
        done += part


@_inlined
def convolve(op, blocks, task, memory, scratch, lanes):  # type: ignore
    """A tile of pixels of some output channels, block of sources after block."""
    tile, chunk = task // op.chunks, task % op.chunks
    first = op.vectors * tile // op.tiles
    size = op.vectors * (tile + 1) // op.tiles - first
    place = 4 * first * len(lanes)
    for number in range(op.table, op.table + op.blocks):
        block = block_at(blocks + _BLOCK * number)
        rows = block.row_stop - block.row_start
        start = block.row_start + _first_row(rows, chunk, op.chunks)
        stop = min(block.row_stop, block.row_start + _first_row(rows, chunk + 1, op.chunks))
        if start == stop:
            continue
        base, step = memory + op.source + block.base + place, op.source_plane
        if op.form == o.PANEL_SPARSE or op.form == o.PANEL_DENSE:
            _pack(op, op.sources + 4 * block.sources, block.count, first, size, memory, scratch, lanes)
            base, step = scratch + o.SEGMENT_BYTES, op.panel
        if op.form == o.PANEL_DENSE or op.form == o.PLACE_DENSE:
            _dense_rows(op, block, start, stop, size, base, step, memory, place, lanes)
        else:
            _sparse_rows(op, block, start, stop, size, base, memory, place, lanes)


@_inlined
def _perform(op, blocks, task, tensors, first, valid, memory, scratch, lanes):  # type: ignore
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


def machine_code(width: int) -> tuple[str, list[str], bytes]:
    """Compile :data:`.machine_code.Run` for vectors of so many floats; returns :class:`.machine_code.Code`.

    Raises:
        UnfitTargetError: the settings of numba forbid it.
    """
    check_target(width)
    lanes = (None,) * width

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

    compiled: Any = numba.cfunc(types.void(types.int64), nogil=True, error_model="numpy")(run)
    library = compiled._library  # whose file numba's own cache keeps too
    names = [*library._final_module.functions, *library._final_module.global_variables]
    externals = [it.name for it in names if it.is_declaration and not it.name.startswith("llvm.")]
    return compiled.native_name, externals, library._get_compiled_object()
