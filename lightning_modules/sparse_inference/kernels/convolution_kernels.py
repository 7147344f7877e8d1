"""The kernel of convolutions and of linear layers for several images; compiled by numba."""

from __future__ import annotations

from . import operations as o
from .inner_loops import dense_row, dense_rows, direct_row, move, sparse_row
from .map_kernels import compiled, inlined
from .memory import block_at, fetch, peek, peek_int, peek_long, poke_long
from .tiles import DENSE_ROWS, first_row

_BLOCK = o.BLOCK.itemsize

_first_row = compiled(first_row)


@compiled
def _write_segments(op, first, size, scratch, lanes):  # type: ignore
    """Write the rows of output pixels in a tile to the scratch, and return how many they are.

    Each is three numbers: where it begins in a row of the panel, where it begins in a source, both in bytes, and how
    many vectors it has.
    """
    segments = 0
    position, end = first * len(lanes), (first + size) * len(lanes)
    while position < end:
        row, x = position // op.target_row, position % op.target_row
        image, y = row // op.target_rows, row % op.target_rows
        length = min(op.target_width - x, end - position)
        if y < op.target_height and image < op.images and length > 0:
            entry = scratch + 24 * segments
            poke_long(entry, 4 * (position - first * len(lanes)))
            poke_long(entry + 8, 4 * ((image * op.source_rows + y * op.stride_down) * op.source_row + x * op.stride))
            poke_long(entry + 16, (length + len(lanes) - 1) // len(lanes))
            segments += 1
        position += op.target_row - x
    return segments


@compiled
def _pack(op, sources, number, first, size, memory, scratch, lanes):  # type: ignore
    """Copy what a tile reads of each source to a row of the panel.

    Whole vectors are copied: what a row has beyond its end is overwritten by the next.
    """
    panel = scratch + o.SEGMENT_BYTES
    vector = 4 * len(lanes)
    if op.same:
        for j in range(number):
            source = memory + op.source + 4 * peek_int(sources + 4 * j) + first * vector
            for t in range(size):
                move(lanes, panel + j * op.panel + t * vector, source + t * vector, 1)
        return
    segments = _write_segments(op, first, size, scratch, lanes)
    for j in range(number):
        source = memory + op.source + 4 * peek_int(sources + 4 * j)
        for s in range(segments):
            out, start = panel + j * op.panel + peek_long(scratch + 24 * s), source + peek_long(scratch + 24 * s + 8)
            for t in range(peek_long(scratch + 24 * s + 16)):
                move(lanes, out + t * vector, start + t * vector * op.stride, op.stride)


@compiled
def _largest_part(size):  # type: ignore
    """Return the largest of ``TILES`` that is not above ``size``."""
    return 8 if size >= 8 else 4 if size >= 4 else 2 if size >= 2 else 1


@compiled
def _sparse_rows(op, block, start, stop, tile, base, memory, offset, lanes):  # type: ignore
    """Compute the rows ``start`` to ``stop`` of a tile with sparse weights."""
    # These are copied to variables, as numbers in memory would be read anew after each write of a row.
    index, values, biases, plane, direct = op.index, op.values, op.bias, op.target_plane, op.form == o.DIRECT_SPARSE
    first, relu, mask = block.first, op.relu if block.last else 0, op.mask + offset if block.last else 0
    at = 4 * (block.pointers + start - block.row_start)
    pointers, rows = op.pointers + at, op.rows + at
    outs = memory + op.target + offset
    residuals, residual_plane = 0, 0
    if first and op.other >= 0:
        residuals, residual_plane = memory + op.other + offset, op.other_plane
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
                part, byte = _largest_part(tile - done), 4 * done * len(lanes)
                other, target = residual + byte if residual else 0, out + byte
                direct_row(
                    lanes, part, base + byte, index + 4 * k, own, number, target, bias, first, other, relu, mask + byte
                )
                done += part
        k = end


@compiled
def _dense_rows(op, block, start, stop, tile, base, step, memory, offset, lanes):  # type: ignore
    """Compute the rows ``start`` to ``stop`` with dense weights: all for a part of the tile, then for the next."""
    done = 0
    while done < tile:
        part, byte = _largest_part(tile - done), 4 * done * len(lanes)
        row = start
        while row < stop:
            out = memory + op.target + row * op.target_plane + offset + byte
            other = memory + op.other + row * op.other_plane + offset + byte if block.first and op.other >= 0 else 0
            relu = op.relu if block.last else 0
            mask = op.mask + offset + byte if block.last else 0
            values = op.values + 4 * (block.values + (row - block.row_start) * block.count)
            args = (values, block.count, out, op.target_plane, op.bias + 4 * row, block.first, other, relu, mask)
            if row + DENSE_ROWS <= block.row_stop:
                dense_rows(lanes, part, base + byte, step, *args)
                row += DENSE_ROWS
            else:
                dense_row(lanes, part, base + byte, step, *args)
                row += 1
        done += part


@inlined
def convolve(op, blocks, task, memory, scratch, lanes):  # type: ignore
    """Compute one task of a convolution: a tile of pixels of some output channels, block of sources after block."""
    tile, chunk = task // op.chunks, task % op.chunks
    first = op.vectors * tile // op.tiles
    size = op.vectors * (tile + 1) // op.tiles - first
    offset = 4 * first * len(lanes)
    for number in range(op.table, op.table + op.blocks):
        block = block_at(blocks + _BLOCK * number)
        rows = block.row_stop - block.row_start
        start = block.row_start + _first_row(rows, chunk, op.chunks)
        stop = min(block.row_stop, block.row_start + _first_row(rows, chunk + 1, op.chunks))
        if start == stop:
            continue
        base, step = memory + op.source + block.base + offset, op.source_plane
        if op.form == o.PANEL_SPARSE or op.form == o.PANEL_DENSE:
            _pack(op, op.sources + 4 * block.sources, block.count, first, size, memory, scratch, lanes)
            base, step = scratch + o.SEGMENT_BYTES, op.panel
        if op.form == o.PANEL_DENSE or op.form == o.IN_PLACE_DENSE:
            _dense_rows(op, block, start, stop, size, base, step, memory, offset, lanes)
        else:
            _sparse_rows(op, block, start, stop, size, base, memory, offset, lanes)
