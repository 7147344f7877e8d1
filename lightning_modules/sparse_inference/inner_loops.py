"""The inner loops of the kernels, as intrinsics of numba.

Plain loops take twice as long, as LLVM neither keeps a tile of sums in registers nor takes the full width of a vector.
Memory is given by addresses, in bytes; ``lanes`` is a tuple of as many Nones as there are floats in a vector, so that
every width has a compiled version of its own. A tile is some neighbouring vectors: 1 to 8, or one of ``TILES``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba import types

from .vectors import F32, I16, I32, I64, Emitter, intrinsic

DENSE_ROWS = 3
MAX_TILE = 8
TILES = (1, 2, 4, 8)  # where fewer versions are worth more than every size

Lanes = tuple[None, ...]

_int, _float = types.int64, types.float32


def _void(numbers: int, floats: tuple[int, ...], emit: Callable[..., None]) -> Any:
    """An intrinsic of ``lanes`` and ``numbers`` arguments, int64 but for the ``floats``, that returns nothing."""

    def typed(lanes: Any) -> Any:
        kinds = [_float if i in floats else _int for i in range(numbers)]

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit(Emitter(builder, lanes.count), *arguments[1:])
            return context.get_dummy_value()

        return types.void(lanes, *kinds), generate

    return typed


def _emit_row(e: Emitter, direct: bool, tile: Any, base: Any, index: Any, values: Any, count: Any, *ends: Any) -> None:
    out, bias, first, residual, relu, mask = ends

    def emit(size: int) -> None:
        sets = 1 if size > 4 else 2 if size > 2 else 4  # enough sums to hide how long an addition takes
        sums = [e.variables(size) for _ in range(sets)]
        e.start(sums[0], out, bias, first)
        for total in (total for more in sums[1:] for total in more):
            e.ir.store(ir.Constant(e.vector, [0.0] * e.width), total)

        def add(k: Any, totals: list[Any]) -> None:
            kind = I32 if direct else I16
            place = e.load(index, e.times(k, 4 if direct else 2), kind)
            place = e.times(e.ir.sext(place, I64), 4) if direct else e.times(e.ir.zext(place, I64), e.bytes)
            address = e.ir.add(base, place)
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
    out, out_step, biases, first, residual, relu, mask = ends

    def emit(size: int) -> None:
        sums = [e.variables(size) for _ in range(rows)]

        def at(address: Any, row: int) -> Any:
            return e.ir.add(address, e.times(out_step, row))

        for row in range(rows):
            e.start(sums[row], at(out, row), e.load(biases, 4 * row, F32), first)
        with e.loop(I64(0), count) as (k, _):
            address = e.ir.add(base, e.ir.mul(k, step))
            place = e.times(k, 4 * rows)
            weights = [e.spread(e.load(e.ir.add(values, place), 4 * row, F32)) for row in range(rows)]
            for t in range(size):
                source = e.load(address, t * e.bytes)
                for row in range(rows):
                    total = sums[row][t]
                    e.ir.store(e.multiply_add(weights[row], source, e.ir.load(total)), total)
        for row in range(rows):
            there = e.ir.select(e.ir.icmp_signed("!=", residual, I64(0)), at(residual, row), I64(0))
            e.finish(sums[row], at(out, row), there, relu, mask)

    e.by_tile(tile, TILES, emit)


@intrinsic
def sparse_row(typing, lanes, tile, base, index, values, count, out, bias, first, residual, relu, mask):  # type: ignore
    """A tile of one output row: sum of ``values[k] * vectors at base + index[k]``, uint16, counted in vectors.

    The sum starts with ``bias`` if ``first``, else with what ``out`` holds. ``residual``, ``relu`` and ``mask`` (words
    of ones where the result stays, of zeros where it becomes 0) are applied unless they are 0.
    """
    return _void(11, (6,), lambda e, *a: _emit_row(e, False, *a))(lanes)


@intrinsic
def direct_row(typing, lanes, tile, base, index, values, count, out, bias, first, residual, relu, mask):  # type: ignore
    """As :func:`sparse_row`, with int32 indices counted in floats: sources that begin anywhere."""
    return _void(11, (6,), lambda e, *a: _emit_row(e, True, *a))(lanes)


@intrinsic
def dense_rows(typing, lanes, tile, base, step, values, count, out, out_step, biases, first, residual, relu, mask):  # type: ignore
    """A tile of three output rows from ``count`` sources ``step`` apart; ``values`` are (source, row)."""
    return _void(12, (), lambda e, *a: _emit_dense(e, DENSE_ROWS, *a))(lanes)


@intrinsic
def dense_row(typing, lanes, tile, base, step, values, count, out, out_step, biases, first, residual, relu, mask):  # type: ignore
    """As :func:`dense_rows`, one output row."""
    return _void(12, (), lambda e, *a: _emit_dense(e, 1, *a))(lanes)


@intrinsic
def move(typing, lanes, out, source, stride):  # type: ignore
    """Copy every ``stride``-th float from ``source`` on to one vector."""
    return _void(3, (), lambda e, out, source, stride: e.store(e.strided(source, stride), out))(lanes)


@intrinsic
def affine(typing, lanes, out, source, scale, shift, other, relu, mask):  # type: ignore
    """One vector of ``source * scale + shift``, plus ``other`` unless it is 0, with ReLU and mask."""

    def emit(e: Emitter, out: Any, source: Any, scale: Any, shift: Any, *ends: Any) -> None:
        [total] = e.variables(1)
        e.ir.store(e.multiply_add(e.load(source), e.spread(scale), e.spread(shift)), total)
        e.finish([total], out, *ends)

    return _void(7, (2, 3), emit)(lanes)


@intrinsic
def blend(typing, lanes, out, first, second, share):  # type: ignore
    """One vector of ``first + share * (second - first)``."""

    def emit(e: Emitter, out: Any, first: Any, second: Any, share: Any) -> None:
        a = e.load(first)
        e.store(e.multiply_add(e.ir.fsub(e.load(second), a), e.spread(share), a), out)

    return _void(4, (3,), emit)(lanes)


def _emit_pool(e: Emitter, out: Any, source: Any, row: Any, start: Any, stop: Any, *ends: Any) -> None:
    kernel, stride, left, width, scale = ends
    places = ir.VectorType(I32, e.width)
    maximum = e.ir.fcmp_ordered("==", scale, F32(0))
    outside = e.spread(e.ir.select(maximum, F32(-float("inf")), F32(0)))
    [total] = e.variables(1)
    e.ir.store(outside, total)
    steps = e.ir.mul(e.spread(e.ir.trunc(stride, I32)), ir.Constant(places, list(range(e.width))))
    with e.loop(start, stop) as (y, _), e.loop(I64(0), kernel) as (x, _):
        values = e.strided(e.ir.add(source, e.ir.add(e.ir.mul(y, row), e.times(x, 4))), stride)
        columns = e.ir.add(steps, e.spread(e.ir.trunc(e.ir.add(left, x), I32)))
        inside = e.ir.icmp_unsigned("<", columns, e.spread(e.ir.trunc(width, I32)))
        values, before = e.ir.select(inside, values, outside), e.ir.load(total)
        larger = e.call("maximum", e.vector, [before, values])  # of NaN and a number: NaN
        e.ir.store(e.ir.select(maximum, larger, e.ir.fadd(before, values)), total)
    whole = e.ir.load(total)
    e.store(e.ir.select(maximum, whole, e.ir.fmul(whole, e.spread(scale))), out)


@intrinsic
def pool_vector(typing, lanes, out, source, row, start, stop, kernel, stride, left, width, scale):  # type: ignore
    """One vector of sums over windows times ``scale``, or of their maxima if that is 0.

    The windows have rows ``start`` to ``stop`` from ``source`` on, ``row`` bytes apart, and ``kernel`` columns; those
    outside 0 to ``width`` do not count, the first lane's first being ``left``.
    """
    return _void(10, (9,), _emit_pool)(lanes)


def _emit_dot(e: Emitter, sparse: bool, out: Any, vector: Any, index: Any, values: Any, count: Any, *ends: Any) -> None:
    bias, relu = ends
    sums = e.variables(2)
    for total in sums:
        e.ir.store(ir.Constant(e.vector, [0.0] * e.width), total)

    lanes = ir.Constant(ir.VectorType(I64, e.width), list(range(e.width)))

    def sources(k: Any, inside: Any = None) -> Any:
        if not sparse:
            return e.load(vector, e.times(k, 4))
        places = e.ir.zext(e.load(index, e.times(k, 2), ir.VectorType(I16, e.width)), ir.VectorType(I64, e.width))
        return e.gather(vector, places, inside)

    whole = e.ir.and_(count, I64(-2 * e.width))
    with e.loop(I64(0), whole, 2 * e.width) as (k, _):
        for s, total in enumerate(sums):
            place = e.ir.add(k, I64(s * e.width))
            e.ir.store(e.multiply_add(e.load(values, e.times(place, 4)), sources(place), e.ir.load(total)), total)
    with e.loop(whole, count, e.width) as (k, _):
        inside = e.ir.icmp_signed("<", lanes, e.spread(e.ir.sub(count, k)))
        before = e.ir.load(sums[0])
        more = e.multiply_add(e.load(values, e.times(k, 4)), sources(k, inside), before)
        e.ir.store(e.ir.select(inside, more, before), sums[0])
    rest = e.single()
    e.ir.store(e.ir.fadd(bias, e.total(e.ir.fadd(*map(e.ir.load, sums)))), rest)
    with e.unless_zero(relu):
        zero = ir.Constant(F32, 0.0)
        total = e.ir.load(rest)
        e.ir.store(e.ir.select(e.ir.fcmp_ordered("<", total, zero), zero, total), rest)
    e.store(e.ir.load(rest), out)


@intrinsic
def sparse_dot(typing, lanes, out, vector, index, values, count, bias, relu):  # type: ignore
    """One number: ``bias`` plus the sum of ``values[k] * vector[index[k]]``, with ReLU.

    All three may be read for a vector beyond ``count``.
    """
    return _void(7, (5,), lambda e, *a: _emit_dot(e, True, *a))(lanes)


@intrinsic
def dense_dot(typing, lanes, out, vector, index, values, count, bias, relu):  # type: ignore
    """As :func:`sparse_dot` for all of a vector; ``index`` is not looked at."""
    return _void(7, (5,), lambda e, *a: _emit_dot(e, False, *a))(lanes)
