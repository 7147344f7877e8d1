"""Vector code of a chosen width, as the intermediate representation (IR) of LLVM."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic

from .processor import has_lookup

intrinsic: Callable[[Callable[..., Any]], Any] = _intrinsic  # numba says that it returns what it takes

I16, I32, I64, F32 = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()


class Emitter:
    """The writer of vector code of one width, with a builder of IR."""

    def __init__(self, builder: Any, width: int) -> None:
        self.ir = builder
        self.width = width
        self.vector = ir.VectorType(F32, width)
        self.bytes = 4 * width

    def pointer(self, address: Any, offset: Any = 0) -> Any:
        """Return an address, plus an offset in bytes, as a pointer."""
        address = self.ir.add(address, I64(offset)) if isinstance(offset, int) else self.ir.add(address, offset)
        return self.ir.inttoptr(address, ir.PointerType())

    def load(self, address: Any, offset: Any = 0, kind: Any = None) -> Any:
        """Read a value, by default a vector; a vector may begin at any of its numbers."""
        kind = kind or self.vector
        number = kind.element if isinstance(kind, ir.VectorType) else kind
        align = number.width // 8 if isinstance(number, ir.IntType) else 4
        return self.ir.load(self.pointer(address, offset), typ=kind, align=align)

    def store(self, value: Any, address: Any, offset: Any = 0) -> None:
        """Write a value."""
        self.ir.store(value, self.pointer(address, offset), align=4)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Return ``a * b + c``."""
        return self.call("fmuladd", self.vector, [a, b, c])

    def call(self, name: str, result: Any, arguments: list[Any], suffix: str = "") -> Any:
        """Call the intrinsic of LLVM that has this name for vectors of this width."""
        return self.call_exact(f"llvm.{name}.v{self.width}f32{suffix}", result, arguments)

    def call_exact(self, name: str, result: Any, arguments: list[Any]) -> Any:
        """Call the intrinsic of LLVM that has exactly this name."""
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = self.ir.module.globals.get(name) or ir.Function(self.ir.module, kind, name)
        return self.ir.call(function, arguments)

    def variable(self, kind: Any) -> Any:
        """Return the address of a new variable."""
        return cgutils.alloca_once(self.ir, kind)  # type: ignore[no-untyped-call]

    def variables(self, count: int) -> list[Any]:
        """Return the addresses of new variables for vectors."""
        return [self.variable(self.vector) for _ in range(count)]

    def loop(self, start: Any, stop: Any, step: int = 1) -> Any:
        """Return a context of code that runs for each number of a range."""
        return cgutils.for_range_slice(self.ir, start, stop, I64(step), I64)

    def times(self, number: Any, factor: int) -> Any:
        """Return an int64 times a constant."""
        return self.ir.mul(number, I64(factor))

    def unless_zero(self, number: Any) -> Any:
        """Return a context of code that runs unless an int64 is 0."""
        return self.ir.if_then(self.ir.icmp_signed("!=", number, I64(0)))

    def relu(self, vector: Any) -> Any:
        """Apply ReLU, which leaves NaN as it is."""
        zeros = ir.Constant(self.vector, [0.0] * self.width)
        return self.ir.select(self.ir.fcmp_ordered("<", vector, zeros), zeros, vector)

    def masked(self, vector: Any, mask: Any) -> Any:
        """Keep the floats for which the words at the address ``mask`` are ones; the others become 0."""
        words = ir.VectorType(I32, self.width)
        return self.ir.bitcast(self.ir.and_(self.ir.bitcast(vector, words), self.load(mask, 0, words)), self.vector)

    def strided(self, address: Any, stride: Any) -> Any:
        """Return every ``stride``-th float from an address on."""
        result = self.variable(self.vector)
        with self.ir.if_else(self.ir.icmp_signed("==", stride, I64(1))) as (dense, sparse):
            with dense:
                self.ir.store(self.load(address), result)
            with sparse, self.ir.if_else(self.ir.icmp_signed("==", stride, I64(2))) as (even, other):
                with even:
                    both = self.load(address), self.load(address, self.bytes)
                    self.ir.store(self.shuffled(*both, list(range(0, 2 * self.width, 2))), result)
                with other:
                    steps = ir.Constant(ir.VectorType(I64, self.width), list(range(self.width)))
                    self.ir.store(self.gather(address, self.ir.mul(steps, self.spread(stride))), result)
        return self.ir.load(result)

    def shuffled(self, first: Any, second: Any, index: list[int]) -> Any:
        """Return the numbers of two vectors at an index that counts through both."""
        return self.ir.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, self.width), index))

    def spread(self, number: Any) -> Any:
        """Return a vector of one number."""
        kind = ir.VectorType(number.type, self.width)
        one = self.ir.insert_element(ir.Constant(kind, ir.Undefined), number, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, self.width), [0] * self.width)
        return self.ir.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)

    def total(self, vector: Any) -> Any:
        """Return the sum of a vector's floats."""
        half = self.width // 2
        while half:
            rotated = [(lane + half) % self.width for lane in range(self.width)]
            vector, half = self.ir.fadd(vector, self.shuffled(vector, vector, rotated)), half // 2
        return self.ir.extract_element(vector, I32(0))

    def gather(self, address: Any, index: Any, inside: Any = None) -> Any:
        """Return the floats at an index, int64 and counted in floats from an address on.

        Only those are read for which ``inside`` is true, if it is given.
        """
        four = ir.Constant(index.type, [4] * self.width)
        pointers = ir.VectorType(ir.PointerType(), self.width)
        addresses = self.ir.inttoptr(self.ir.add(self.spread(address), self.ir.mul(index, four)), pointers)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(1), self.width), [1] * self.width)
        arguments = [
            addresses,
            I32(4),
            everywhere if inside is None else inside,
            ir.Constant(self.vector, ir.Undefined),
        ]
        return self.call("masked.gather", self.vector, arguments, f".v{self.width}p0")

    def looked_up(self, address: Any, first: Any, second: Any, index: Any) -> Any:
        """Return the floats at an index, int32, of two vectors that are also at an address."""
        if not has_lookup(self.width):
            return self.gather(address, self.ir.zext(index, ir.VectorType(I64, self.width)))
        return self.call_exact("llvm.x86.avx512.vpermi2var.ps.512", self.vector, [first, index, second])

    def finish(self, sums: list[Any], out: Any, residual: Any, relu: Any, mask: Any) -> None:
        """Add a residual, apply ReLU and a mask, each unless it is 0, and write a tile."""
        with self.unless_zero(residual):
            for t, total in enumerate(sums):
                self.ir.store(self.ir.fadd(self.ir.load(total), self.load(residual, t * self.bytes)), total)
        with self.unless_zero(relu):
            for total in sums:
                self.ir.store(self.relu(self.ir.load(total)), total)
        with self.unless_zero(mask):
            for t, total in enumerate(sums):
                self.ir.store(self.masked(self.ir.load(total), self.ir.add(mask, I64(t * self.bytes))), total)
        for t, total in enumerate(sums):
            self.store(self.ir.load(total), out, t * self.bytes)

    def start(self, sums: list[Any], out: Any, bias: Any, first: Any) -> None:
        """Let sums begin with the bias, or with what is in the output already."""
        with self.ir.if_else(self.ir.icmp_signed("!=", first, I64(0))) as (new, more):
            with new:
                for total in sums:
                    self.ir.store(self.spread(bias), total)
            with more:
                for t, total in enumerate(sums):
                    self.ir.store(self.load(out, t * self.bytes), total)

    def by_tile(self, tile: Any, sizes: Iterable[int], emit: Callable[[int], None]) -> None:
        """Write a version of the code for each of the ``sizes`` of a tile, whose sums then stay in registers."""
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
    """Return an intrinsic that returns nothing.

    Its arguments are ``lanes``, a tuple of as many Nones as a vector has floats, and ``numbers`` more: those at the
    positions ``floats`` are float32, all others int64.
    """

    def typed(lanes: Any) -> Any:
        kinds = [types.float32 if i in floats else types.int64 for i in range(numbers)]

        def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
            emit(Emitter(builder, lanes.count), *arguments[1:])
            return context.get_dummy_value()

        return types.void(lanes, *kinds), generate

    return typed
