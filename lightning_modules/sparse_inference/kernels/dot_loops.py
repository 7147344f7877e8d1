"""The inner loops of linear layers for one image, as intrinsics of numba; arguments are as in :mod:`.inner_loops`."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir

from .vectors import F32, I16, I32, I64, Emitter, intrinsic, procedure


def _emit_lookup(e: Emitter, out: Any, vector: Any, index: Any, values: Any, ends: Any, *more: Any) -> None:
    """Write the code of :func:`lookup`."""
    blocks, bias, relu = more
    sums = e.variables(2)
    e.ir.store(e.load(bias), sums[0])
    e.ir.store(ir.Constant(e.vector, [0.0] * e.width), sums[1])
    with e.loop(I64(0), blocks) as (b, _):
        table = e.ir.add(vector, e.times(b, 2 * e.bytes))
        both = e.load(table), e.load(table, e.bytes)
        start, stop = (e.ir.sext(e.load(ends, e.times(e.ir.add(b, I64(i)), 4), I32), I64) for i in range(2))
        with e.loop(start, stop, 2) as (k, _):
            for s, total in enumerate(sums):
                step = e.ir.add(k, I64(s))
                positions = e.load(index, e.times(step, e.width), ir.VectorType(ir.IntType(8), e.width))
                source = e.looked_up(table, *both, e.ir.zext(positions, ir.VectorType(I32, e.width)))
                weights = e.load(values, e.times(step, e.bytes))
                e.ir.store(e.multiply_add(weights, source, e.ir.load(total)), total)
    e.ir.store(e.ir.fadd(*map(e.ir.load, sums)), sums[0])
    e.finish(sums[:1], out, I64(0), relu, I64(0))


@intrinsic
def lookup(typing, lanes, out, vector, index, values, ends, blocks, bias, relu):  # type: ignore
    """Compute one vector of outputs of a sparse linear layer, with bias and ReLU.

    The input is read in ``blocks`` of two vectors, which stay in registers. ``ends`` counts the steps up to each block
    and its end; steps come in pairs. In a step each float of the output gets one input of the block, whose position in
    the block is a uint8 of ``index``, times one of ``values``.
    """
    return procedure(8, (), _emit_lookup)(lanes)


def _emit_dot(e: Emitter, sparse: bool, out: Any, vector: Any, index: Any, values: Any, count: Any, *ends: Any) -> None:
    """Write the code of :func:`sparse_dot` or :func:`dense_dot`."""
    bias, relu = ends
    sums = e.variables(2)
    for total in sums:
        e.ir.store(ir.Constant(e.vector, [0.0] * e.width), total)

    lanes = ir.Constant(ir.VectorType(I64, e.width), list(range(e.width)))

    def sources(k: Any, inside: Any = None) -> Any:
        """Return what the weights from number ``k`` on are multiplied with."""
        if not sparse:
            return e.load(vector, e.times(k, 4))
        positions = e.ir.zext(e.load(index, e.times(k, 2), ir.VectorType(I16, e.width)), ir.VectorType(I64, e.width))
        return e.gather(vector, positions, inside)

    whole = e.ir.and_(count, I64(-2 * e.width))
    with e.loop(I64(0), whole, 2 * e.width) as (k, _):
        for s, total in enumerate(sums):
            position = e.ir.add(k, I64(s * e.width))
            e.ir.store(e.multiply_add(e.load(values, e.times(position, 4)), sources(position), e.ir.load(total)), total)
    with e.loop(whole, count, e.width) as (k, _):
        inside = e.ir.icmp_signed("<", lanes, e.spread(e.ir.sub(count, k)))
        before = e.ir.load(sums[0])
        more = e.multiply_add(e.load(values, e.times(k, 4)), sources(k, inside), before)
        e.ir.store(e.ir.select(inside, more, before), sums[0])
    rest = e.variable(F32)
    e.ir.store(e.ir.fadd(bias, e.total(e.ir.fadd(*map(e.ir.load, sums)))), rest)
    with e.unless_zero(relu):
        zero = ir.Constant(F32, 0.0)
        total = e.ir.load(rest)
        e.ir.store(e.ir.select(e.ir.fcmp_ordered("<", total, zero), zero, total), rest)
    e.store(e.ir.load(rest), out)


@intrinsic
def sparse_dot(typing, lanes, out, vector, index, values, count, bias, relu):  # type: ignore
    """Compute one number: ``bias`` plus the sum of ``values[k] * vector[index[k]]``, with ReLU.

    All three arrays may be read for one vector beyond ``count``.
    """
    return procedure(7, (5,), lambda e, *a: _emit_dot(e, True, *a))(lanes)


@intrinsic
def dense_dot(typing, lanes, out, vector, index, values, count, bias, relu):  # type: ignore
    """Compute one number: ``bias`` plus the sum of ``values[k] * vector[k]``, with ReLU; ``index`` is not read."""
    return procedure(7, (5,), lambda e, *a: _emit_dot(e, False, *a))(lanes)
