"""The kernel of linear layers for one image; compiled by numba."""

from __future__ import annotations

from . import operations as o
from .dot_loops import dense_dot, lookup, sparse_dot
from .map_kernels import compiled
from .memory import peek, peek_int, poke


@compiled
def _lookups(op, start, stop, memory, scratch, lanes):  # type: ignore
    """Compute outputs of a linear layer in whole vectors: the vectors that begin from ``start`` to ``stop``."""
    blocks = (op.source_width + 2 * len(lanes) - 1) // (2 * len(lanes))
    out = scratch + 8 * blocks * len(lanes)
    for group in range((start + len(lanes) - 1) // len(lanes), (stop + len(lanes) - 1) // len(lanes)):
        first, ends = group * len(lanes), op.pointers + 4 * group * blocks
        lookup(lanes, out, scratch, op.index, op.values, ends, blocks, op.bias + 4 * first, op.relu)
        for row in range(first, min(first + len(lanes), op.channels)):
            poke(memory + op.target + row * op.target_plane, peek(out + 4 * (row - first)))


@compiled
def dot(op, start, stop, memory, scratch, lanes):  # type: ignore
    """Compute the outputs ``start`` to ``stop`` of a linear layer for one image."""
    for k in range(op.source_width):
        poke(scratch + 4 * k, peek(memory + op.source + k * op.source_plane))
    if op.form == o.LOOKUP_SPARSE:
        _lookups(op, start, stop, memory, scratch, lanes)
        return
    for row in range(start, stop):
        out, bias = memory + op.target + row * op.target_plane, peek(op.bias + 4 * row)
        if op.form == o.IN_PLACE_DENSE:
            values = op.values + 4 * row * op.source_width
            dense_dot(lanes, out, scratch, 0, values, op.source_width, bias, op.relu)
        else:
            k = peek_int(op.pointers + 4 * row)
            number = peek_int(op.pointers + 4 * row + 4) - k
            sparse_dot(lanes, out, scratch, op.index + 2 * k, op.values + 4 * k, number, bias, op.relu)
