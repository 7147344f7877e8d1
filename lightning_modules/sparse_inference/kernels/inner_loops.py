"""The inner loops of convolutions and of kernels for maps, as intrinsics of numba.

Plain loops take twice as long, as LLVM neither keeps a tile of sums in registers nor uses the full width of a vector.
Memory is given by addresses and offsets in bytes. ``lanes`` is a tuple of as many Nones as there are floats in a
vector, so that every width has a compiled version of its own. A tile is some neighbouring vectors: 1 to 8, or one of
``TILES``.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir

from .tiles import DENSE_ROWS, MAX_TILE, TILES
from .vectors import F32, I16, I32, I64, Emitter, intrinsic, procedure


def _emit_row(e: Emitter, direct: bool, tile: Any, base: Any, index: Any, values: Any, count: Any, *ends: Any) -> None:
    """Write the code of :func:`sparse_row` or :func:`direct_row`."""
    out, bias, first, residual, relu, mask = ends

    def emit(size: int) -> None:
        sets = 1 if size > 4 else 2 if size > 2 else 4  # as many sums as hide how long an addition takes
        sums = [e.variables(size) for _ in range(sets)]
        e.start(sums[0], out, bias, first)
        for total in (total for more in sums[1:] for total in more):
            e.ir.store(ir.Constant(e.vector, [0.0] * e.width), total)

        def add(k: Any, totals: list[Any]) -> None:
            kind = I32 if direct else I16
            source = e.load(index, e.times(k, 4 if direct else 2), kind)
            offset = e.times(e.ir.sext(source, I64), 4) if direct else e.times(e.ir.zext(source, I64), e.bytes)
            address = e.ir.add(base, offset)
            weight = e.spread(e.load(values, e.times(k, 4), F32))
            for t, total in enumerate(totals):
                product = e.multiply_add(weight, e.load(address, t * e.bytes), e.ir.load(total))
                e.ir.store(product, total)

        whole = e.ir.and_(count, I64(-sets))
        with e.loop(I64(0), whole, sets) as (k, _):
            for s in range(sets):
                add(e.ir.add(k, I64(s)), sums[s])
        if sets > 1:
            with e.loop(whole, count) as (k, _):
                add(k, sums[0])
        for more in sums[1:]:
            for total, part in zip(sums[0], more, strict=True):
                e.ir.store(e.ir.fadd(e.ir.load(total), e.ir.load(part)), total)
        e.finish(sums[0], out, residual, relu, mask)

    e.by_tile(tile, TILES if direct else range(1, MAX_TILE + 1), emit)


def _emit_dense(e: Emitter, rows: int, tile: Any, base: Any, step: Any, values: Any, count: Any, *ends: Any) -> None:
    """Write the code of :func:`dense_rows` or :func:`dense_row`."""
    out, out_step, biases, first, residual, relu, mask = ends

    def emit(size: int) -> None:
        sums = [e.variables(size) for _ in range(rows)]

        def at(address: Any, row: int) -> Any:
            return e.ir.add(address, e.times(out_step, row))

        for row in range(rows):
            e.start(sums[row], at(out, row), e.load(biases, 4 * row, F32), first)
        with e.loop(I64(0), count) as (k, _):
            address = e.ir.add(base, e.ir.mul(k, step))
            offset = e.times(k, 4 * rows)
            weights = [e.spread(e.load(e.ir.add(values, offset), 4 * row, F32)) for row in range(rows)]
            for t in range(size):
                source = e.load(address, t * e.bytes)
                for row in range(rows):
                    total = sums[row][t]
                    e.ir.store(e.multiply_add(weights[row], source, e.ir.load(total)), total)
        for row in range(rows):
            own_residual = e.ir.select(e.ir.icmp_signed("!=", residual, I64(0)), at(residual, row), I64(0))
            e.finish(sums[row], at(out, row), own_residual, relu, mask)

    e.by_tile(tile, TILES, emit)


@intrinsic
def sparse_row(typing, lanes, tile, base, index, values, count, out, bias, first, residual, relu, mask):  # type: ignore
    """Compute a tile of one output row: the sum of ``values[k]`` times the vectors at ``base`` plus ``index[k]``.

    ``index`` is uint16 and counted in vectors. The sum starts with ``bias`` if ``first``, else with what is at ``out``.
    ``residual``, ``relu`` and ``mask`` (words of ones where the result stays, of zeros where it becomes 0) are applied
    unless they are 0.
    """
    return procedure(11, (6,), lambda e, *a: _emit_row(e, False, *a))(lanes)


@intrinsic
def direct_row(typing, lanes, tile, base, index, values, count, out, bias, first, residual, relu, mask):  # type: ignore
    """Compute the same as :func:`sparse_row` from sources that begin anywhere; ``index`` is int32, in floats."""
    return procedure(11, (6,), lambda e, *a: _emit_row(e, True, *a))(lanes)


@intrinsic
def dense_rows(typing, lanes, tile, base, step, values, count, out, out_step, biases, first, residual, relu, mask):  # type: ignore
    """Compute a tile of three output rows from ``count`` sources ``step`` apart; ``values`` are (source, row)."""
    return procedure(12, (), lambda e, *a: _emit_dense(e, DENSE_ROWS, *a))(lanes)


@intrinsic
def dense_row(typing, lanes, tile, base, step, values, count, out, out_step, biases, first, residual, relu, mask):  # type: ignore
    """Compute the same as :func:`dense_rows` for one output row."""
    return procedure(12, (), lambda e, *a: _emit_dense(e, 1, *a))(lanes)


@intrinsic
def move(typing, lanes, out, source, stride):  # type: ignore
    """Copy every ``stride``-th float from ``source`` on to one vector."""
    return procedure(3, (), lambda e, out, source, stride: e.store(e.strided(source, stride), out))(lanes)


def _emit_transpose(e: Emitter, out: Any, out_step: Any, source: Any, source_step: Any) -> None:
    """Write the code of :func:`transpose`."""
    rows = [e.load(e.ir.add(source, e.times(source_step, row))) for row in range(e.width)]
    half = 1
    while half < e.width:
        low = [lane if not lane & half else lane - half + e.width for lane in range(e.width)]
        high = [lane + half if not lane & half else lane + e.width for lane in range(e.width)]
        for i in (i for i in range(e.width) if not i & half):
            pair = rows[i], rows[i + half]
            rows[i], rows[i + half] = e.shuffled(*pair, low), e.shuffled(*pair, high)
        half *= 2
    for row, vector in enumerate(rows):
        e.store(vector, e.ir.add(out, e.times(out_step, row)))


@intrinsic
def transpose(typing, lanes, out, out_step, source, source_step):  # type: ignore
    """Copy a square of floats, one vector wide, so that its rows become columns; rows are a step apart."""
    return procedure(4, (), _emit_transpose)(lanes)


@intrinsic
def affine(typing, lanes, out, source, scale, shift, other, relu, mask):  # type: ignore
    """Compute one vector of ``source * scale + shift``, plus ``other`` unless it is 0, with ReLU and mask."""

    def emit(e: Emitter, out: Any, source: Any, scale: Any, shift: Any, *ends: Any) -> None:
        [total] = e.variables(1)
        e.ir.store(e.multiply_add(e.load(source), e.spread(scale), e.spread(shift)), total)
        e.finish([total], out, *ends)

    return procedure(7, (2, 3), emit)(lanes)


@intrinsic
def blend(typing, lanes, out, first, second, share):  # type: ignore
    """Compute one vector of ``first + share * (second - first)``."""

    def emit(e: Emitter, out: Any, first: Any, second: Any, share: Any) -> None:
        a = e.load(first)
        e.store(e.multiply_add(e.ir.fsub(e.load(second), a), e.spread(share), a), out)

    return procedure(4, (3,), emit)(lanes)


def _emit_pool(e: Emitter, out: Any, source: Any, row: Any, start: Any, stop: Any, *ends: Any) -> None:
    """Write the code of :func:`pool_vector`."""
    kernel, stride, left, width, scale = ends
    integers = ir.VectorType(I32, e.width)
    maximum = e.ir.fcmp_ordered("==", scale, F32(0))
    outside = e.spread(e.ir.select(maximum, F32(-float("inf")), F32(0)))
    [total] = e.variables(1)
    e.ir.store(outside, total)
    steps = e.ir.mul(e.spread(e.ir.trunc(stride, I32)), ir.Constant(integers, list(range(e.width))))
    with e.loop(start, stop) as (y, _), e.loop(I64(0), kernel) as (x, _):
        values = e.strided(e.ir.add(source, e.ir.add(e.ir.mul(y, row), e.times(x, 4))), stride)
        columns = e.ir.add(steps, e.spread(e.ir.trunc(e.ir.add(left, x), I32)))
        inside = e.ir.icmp_unsigned("<", columns, e.spread(e.ir.trunc(width, I32)))
        values, before = e.ir.select(inside, values, outside), e.ir.load(total)
        larger = e.call("maximum", e.vector, [before, values])  # of NaN and a number: NaN
        e.ir.store(e.ir.select(maximum, larger, e.ir.fadd(before, values)), total)
    result = e.ir.load(total)
    e.store(e.ir.select(maximum, result, e.ir.fmul(result, e.spread(scale))), out)


@intrinsic
def pool_vector(typing, lanes, out, source, row, start, stop, kernel, stride, left, width, scale):  # type: ignore
    """Compute one vector of sums over windows times ``scale``, or of their maxima if ``scale`` is 0.

    The windows have rows ``start`` to ``stop`` from ``source`` on, ``row`` bytes apart, and ``kernel`` columns. The
    first window begins at column ``left``; columns outside 0 to ``width`` do not count.
    """
    return procedure(10, (9,), _emit_pool)(lanes)
