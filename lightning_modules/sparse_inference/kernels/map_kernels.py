"""The kernels of layers without a matrix of weights: loading and storing, norms and sums, pooling, upsampling.

Each does the channels ``start`` to ``stop`` of an operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

from .inner_loops import affine, blend, move, pool_vector, transpose
from .memory import peek, peek_int, poke
from .operations import MAXIMUM

# Only compiled code calls these functions, so that they need no wrappers for Python and C.
_NO_WRAPPERS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

compiled: Callable[[Callable[..., Any]], Any] = numba.njit(nogil=True, error_model="numpy", **_NO_WRAPPERS)

# LLVM optimizes what a function calls once more together with it: the fewer levels of calls there are, the sooner all
# is compiled.
inlined: Callable[[Callable[..., Any]], Any] = numba.njit(nogil=True, error_model="numpy", inline="always")


@compiled
def _copy(out, source, number, lanes):  # type: ignore
    """Copy exactly ``number`` floats."""
    whole = number // len(lanes)
    for v in range(whole):
        move(lanes, out + 4 * v * len(lanes), source + 4 * v * len(lanes), 1)
    for k in range(whole * len(lanes), number):
        poke(out + 4 * k, peek(source + 4 * k))


@compiled
def _transpose(out, out_right, out_down, source, right, down, width, height, lanes):  # type: ignore
    """Copy a matrix to where its neighbours are at other distances, which are in bytes.

    It is copied in squares where it is contiguous in one direction before and in the other one after.
    """
    wide = width // len(lanes) if max(min(out_right, right), min(out_down, down)) == 4 else 0
    high = height // len(lanes)
    for i in range(wide):
        for j in range(high):
            x, y = i * len(lanes), j * len(lanes)
            to, start = out + x * out_right + y * out_down, source + x * right + y * down
            if right == 4:
                transpose(lanes, to, out_right, start, down)
            else:
                transpose(lanes, to, out_down, start, right)
    for y in range(height):
        for x in range(wide * len(lanes) if y < high * len(lanes) else 0, width):
            poke(out + x * out_right + y * out_down, peek(source + x * right + y * down))


@compiled
def load(op, start, stop, tensor, first, valid, memory, lanes):  # type: ignore
    """Copy images of a contiguous tensor (images, channels, height, width) to a map."""
    number = min(op.images, valid)
    if op.target_height * op.target_width == 1:
        apart = 4 * op.target_rows * op.target_row
        out, source = memory + op.target + start * op.target_plane, tensor + 4 * (first * op.channels + start)
        _transpose(out, op.target_plane, apart, source, 4, 4 * op.channels, stop - start, number, lanes)
        return
    for c in range(start, stop):
        for g in range(number):
            out = memory + op.target + c * op.target_plane + 4 * g * op.target_rows * op.target_row
            source = tensor + 4 * ((first + g) * op.channels + c) * op.target_height * op.target_width
            for y in range(op.target_height):
                _copy(out + 4 * y * op.target_row, source + 4 * y * op.target_width, op.target_width, lanes)


@compiled
def store(op, start, stop, tensor, first, valid, memory, lanes):  # type: ignore
    """Copy a map to images of a contiguous tensor (images, channels, height, width)."""
    number = min(op.images, valid)
    if op.source_height * op.source_width == 1:
        apart = 4 * op.source_rows * op.source_row
        out, source = tensor + 4 * (first * op.channels + start), memory + op.source + start * op.source_plane
        _transpose(out, 4, 4 * op.channels, source, op.source_plane, apart, stop - start, number, lanes)
        return
    for c in range(start, stop):
        for g in range(number):
            source = memory + op.source + c * op.source_plane + 4 * g * op.source_rows * op.source_row
            out = tensor + 4 * ((first + g) * op.channels + c) * op.source_height * op.source_width
            for y in range(op.source_height):
                _copy(out + 4 * y * op.source_width, source + 4 * y * op.source_row, op.source_width, lanes)


@compiled
def scale_and_add(op, start, stop, memory, lanes):  # type: ignore
    """Multiply each channel of a map by a factor, add a number to it and another map, and apply ReLU."""
    for c in range(start, stop):
        scale = peek(op.scale + 4 * c) if op.scale else numba.float32(1)
        shift = peek(op.bias + 4 * c) if op.bias else numba.float32(0)
        for v in range(op.vectors):
            offset = 4 * v * len(lanes)
            other = memory + op.other + c * op.other_plane + offset if op.other >= 0 else 0
            source = memory + op.source + c * op.source_plane + offset
            out = memory + op.target + c * op.target_plane + offset
            affine(lanes, out, source, scale, shift, other, op.relu, op.mask + offset)


@compiled
def pool(op, start, stop, memory, scratch, lanes):  # type: ignore
    """Compute maxima or averages over windows; what lies outside the map is no maximum, and 0 in an average."""
    scale = numba.float32(0 if op.kind == MAXIMUM else 1 / (op.kernel_height * op.kernel_width))
    for c in range(start, stop):
        for g in range(op.images):
            for y in range(op.target_height):
                top = y * op.stride_down - op.padding_top
                low, high = max(0, -top), min(op.kernel_height, op.source_height - top)
                row = memory + op.source + c * op.source_plane + 4 * (g * op.source_rows + top) * op.source_row
                for v in range((op.target_width + len(lanes) - 1) // len(lanes)):
                    x = v * len(lanes)
                    left = x * op.stride - op.padding_left
                    args = (row + 4 * left, 4 * op.source_row, low, high, op.kernel_width, op.stride, left)
                    pool_vector(lanes, scratch + 4 * x, *args, op.source_width, scale)
                out = memory + op.target + c * op.target_plane + 4 * (g * op.target_rows + y) * op.target_row
                _copy(out, scratch, op.target_width, lanes)


@compiled
def mean(op, start, stop, memory):  # type: ignore
    """Compute the mean over the pixels of each image and channel."""
    for c in range(start, stop):
        for g in range(op.images):
            source = memory + op.source + c * op.source_plane + 4 * g * op.source_rows * op.source_row
            total = 0.0
            for y in range(op.source_height):
                for x in range(op.source_width):
                    total += peek(source + 4 * (y * op.source_row + x))
            average = numba.float32(total / (op.source_height * op.source_width))
            poke(memory + op.target + c * op.target_plane + 4 * g * op.target_rows * op.target_row, average)


@compiled
def flatten(op, start, stop, memory):  # type: ignore
    """Copy each pixel of each channel to a channel of one pixel."""
    for c in range(start, stop):
        for y in range(op.source_height):
            for x in range(op.source_width):
                channel = (c * op.source_height + y) * op.source_width + x
                for g in range(op.images):
                    offset = 4 * ((g * op.source_rows + y) * op.source_row + x)
                    value = peek(memory + op.source + c * op.source_plane + offset)
                    out = channel * op.target_plane + 4 * g * op.target_rows * op.target_row
                    poke(memory + op.target + out, value)


@compiled
def resize(op, start, stop, memory, scratch, lanes):  # type: ignore
    """Interpolate bilinearly.

    ``index`` has the two source rows between which each row lies, then the two columns for each column; ``values`` has
    where it lies between them, from 0 to 1.
    """
    columns, shares = op.index + 8 * op.target_height, op.values + 4 * op.target_height
    for c in range(start, stop):
        for g in range(op.images):
            for y in range(op.target_height):
                source = memory + op.source + c * op.source_plane + 4 * g * op.source_rows * op.source_row
                above = source + 4 * peek_int(op.index + 8 * y) * op.source_row
                below = source + 4 * peek_int(op.index + 8 * y + 4) * op.source_row
                for v in range((op.source_width + len(lanes) - 1) // len(lanes)):
                    offset = 4 * v * len(lanes)
                    blend(lanes, scratch + offset, above + offset, below + offset, peek(op.values + 4 * y))
                out = memory + op.target + c * op.target_plane + 4 * (g * op.target_rows + y) * op.target_row
                for x in range(op.target_width):
                    left = peek(scratch + 4 * peek_int(columns + 8 * x))
                    right = peek(scratch + 4 * peek_int(columns + 8 * x + 4))
                    poke(out + 4 * x, left + peek(shares + 4 * x) * (right - left))
