"""Vector code of a chosen width, as LLVM IR."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic

from .processor import looks_up

intrinsic: Callable[[Callable[..., Any]], Any] = _intrinsic  # numba says that it returns what it takes

I16, I32, I64, F32 = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()


class Emitter:
    """Writes vector code of one width with an IR builder."""

    def __init__(self, builder: Any, width: int) -> None:
        self.ir = builder
        self.width = width
        self.vector = ir.VectorType(F32, width)
        self.bytes = 4 * width

    def pointer(self, address: Any, offset: Any = 0) -> Any:
        address = self.ir.add(address, I64(offset)) if isinstance(offset, int) else self.ir.add(address, offset)
        return self.ir.inttoptr(address, ir.PointerType())

    def load(self, address: Any, offset: Any = 0, kind: Any = None) -> Any:
        kind = kind or self.vector
        number = kind.element if isinstance(kind, ir.VectorType) else kind  # a vector may begin at any of its numbers
        align = number.width // 8 if isinstance(number, ir.IntType) else 4
        return self.ir.load(self.pointer(address, offset), typ=kind, align=align)

    def store(self, value: Any, address: Any, offset: Any = 0) -> None:
        self.ir.store(value, self.pointer(address, offset), align=4)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        return self.call("fmuladd", self.vector, [a, b, c])

    def call(self, name: str, result: Any, arguments: list[Any], suffix: str = "") -> Any:
        """Call the intrinsic of LLVM that has this name for these vectors."""
        return self.call_by(f"llvm.{name}.v{self.width}f32{suffix}", result, arguments)

    def call_by(self, name: str, result: Any, arguments: list[Any]) -> Any:
        """Call the intrinsic of LLVM that has this whole name."""
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = self.ir.module.globals.get(name) or ir.Function(self.ir.module, kind, name)
        return self.ir.call(function, arguments)

    def variable(self, kind: Any) -> Any:
        return cgutils.alloca_once(self.ir, kind)  # type: ignore[no-untyped-call]

    def variables(self, count: int) -> list[Any]:
        return [self.variable(self.vector) for _ in range(count)]

    def single(self) -> Any:
        return self.variable(F32)

    def loop(self, start: Any, stop: Any, step: int = 1) -> Any:
        return cgutils.for_range_slice(self.ir, start, stop, I64(step), I64)

    def times(self, number: Any, factor: int) -> Any:
        return self.ir.mul(number, I64(factor))

    def unless_zero(self, number: Any) -> Any:
        return self.ir.if_then(self.ir.icmp_signed("!=", number, I64(0)))

    def positive(self, vector: Any) -> Any:
        """ReLU, which leaves NaN as it is."""
        zeros = ir.Constant(self.vector, [0.0] * self.width)
        return self.ir.select(self.ir.fcmp_ordered("<", vector, zeros), zeros, vector)

    def masked(self, vector: Any, mask: Any) -> Any:
        whole = ir.VectorType(I32, self.width)
        return self.ir.bitcast(self.ir.and_(self.ir.bitcast(vector, whole), self.load(mask, 0, whole)), self.vector)

    def strided(self, address: Any, stride: Any) -> Any:
        """Every ``stride``-th float from an address on."""
        found = self.variable(self.vector)
        with self.ir.if_else(self.ir.icmp_signed("==", stride, I64(1))) as (dense, sparse):
            with dense:
                self.ir.store(self.load(address), found)
            with sparse, self.ir.if_else(self.ir.icmp_signed("==", stride, I64(2))) as (even, other):
                with even:
                    both = self.load(address), self.load(address, self.bytes)
                    self.ir.store(self.shuffled(*both, list(range(0, 2 * self.width, 2))), found)
                with other:
                    places = ir.Constant(ir.VectorType(I64, self.width), list(range(self.width)))
                    self.ir.store(self.gather(address, self.ir.mul(places, self.spread(stride))), found)
        return self.ir.load(found)

    def shuffled(self, first: Any, second: Any, places: list[int]) -> Any:
        """The lanes of two vectors, counted through, in another order."""
        return self.ir.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, self.width), places))

    def spread(self, number: Any) -> Any:
        """A number in every lane."""
        kind = ir.VectorType(number.type, self.width)
        one = self.ir.insert_element(ir.Constant(kind, ir.Undefined), number, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, self.width), [0] * self.width)
        return self.ir.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)

    def total(self, vector: Any) -> Any:
        """The sum of all lanes."""
        half = self.width // 2
        while half:
            places = [(lane + half) % self.width for lane in range(self.width)]
            vector, half = self.ir.fadd(vector, self.shuffled(vector, vector, places)), half // 2
        return self.ir.extract_element(vector, I32(0))

    def gather(self, address: Any, places: Any, inside: Any = None) -> Any:
        """The floats at places, int64 and counted in floats, from an address on; only lanes ``inside`` are read."""
        four = ir.Constant(places.type, [4] * self.width)
        pointers = ir.VectorType(ir.PointerType(), self.width)
        addresses = self.ir.inttoptr(self.ir.add(self.spread(address), self.ir.mul(places, four)), pointers)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(1), self.width), [1] * self.width)
        arguments = [
            addresses,
            I32(4),
            everywhere if inside is None else inside,
            ir.Constant(self.vector, ir.Undefined),
        ]
        return self.call("masked.gather", self.vector, arguments, f".v{self.width}p0")

    def looked_up(self, address: Any, first: Any, second: Any, places: Any) -> Any:
        """The floats at places, int32, of two vectors that are also at an address."""
        if not looks_up(self.width):
            return self.gather(address, self.ir.zext(places, ir.VectorType(I64, self.width)))
        return self.call_by("llvm.x86.avx512.vpermi2var.ps.512", self.vector, [first, places, second])

    def finish(self, sums: list[Any], out: Any, residual: Any, relu: Any, mask: Any) -> None:
        """Add a residual, apply ReLU and mask, as far as they are not 0, and store a tile."""
        with self.unless_zero(residual):
            for t, total in enumerate(sums):
                self.ir.store(self.ir.fadd(self.ir.load(total), self.load(residual, t * self.bytes)), total)
        with self.unless_zero(relu):
            for total in sums:
                self.ir.store(self.positive(self.ir.load(total)), total)
        with self.unless_zero(mask):
            for t, total in enumerate(sums):
                self.ir.store(self.masked(self.ir.load(total), self.ir.add(mask, I64(t * self.bytes))), total)
        for t, total in enumerate(sums):
            self.store(self.ir.load(total), out, t * self.bytes)

    def start(self, sums: list[Any], out: Any, bias: Any, first: Any) -> None:
        """Begin with the bias, or with what is stored already."""
        with self.ir.if_else(self.ir.icmp_signed("!=", first, I64(0))) as (new, more):
            with new:
                for total in sums:
                    self.ir.store(self.spread(bias), total)
            with more:
                for t, total in enumerate(sums):
                    self.ir.store(self.load(out, t * self.bytes), total)

    def by_tile(self, tile: Any, sizes: Iterable[int], emit: Callable[[int], None]) -> None:
        """One version of the code for each of the ``sizes`` of a tile, with its sums in registers."""
        end = self.ir.append_basic_block("tile.end")
        switch = self.ir.switch(tile, end)
        for size in sizes:
            block = self.ir.append_basic_block(f"tile.{size}")
            switch.add_case(I64(size), block)
            self.ir.position_at_end(block)
            emit(size)
            self.ir.branch(end)
        self.ir.position_at_end(end)


def procedure(numbers: int, floats: tuple[int, ...], emit: Callable[..., None]) -> Any:
    """An intrinsic of ``lanes`` and ``numbers`` arguments, int64 but for the ``floats``, that returns nothing."""

    def typed(lanes: Any) -> Any:
        kinds = [types.float32 if i in floats else types.int64 for i in range(numbers)]

        def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
            emit(Emitter(builder, lanes.count), *arguments[1:])
            return context.get_dummy_value()

        return types.void(lanes, *kinds), generate

    return typed
