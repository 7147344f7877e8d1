"""Access to memory by addresses: values, records, and counters that threads share, as intrinsics of numba."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
import numba
import numpy as np
from numba import types

from .operations import BLOCK, OPERATION
from .vectors import intrinsic

_PREFETCH = "llvm.prefetch.p0"


def _pointer(builder: Any, address: Any) -> Any:
    """Return an address as a pointer."""
    return builder.inttoptr(address, ir.PointerType())


def _reader(kind: Any, bits: Any) -> Any:
    """Return an intrinsic that reads a value of a type of numba, which LLVM calls ``bits``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(builder, arguments[0]), typ=bits)

    return kind(types.int64), generate


def _writer(kind: Any) -> Any:
    """Return an intrinsic that writes a value of a type of numba."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[1], _pointer(builder, arguments[0]))
        return context.get_dummy_value()

    return types.void(types.int64, kind), generate


def _record(kind: np.dtype[np.void]) -> Any:
    """Return an intrinsic that takes what is at an address as a record."""
    record: Any = numba.from_dtype(kind)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(record))

    return record(types.int64), generate


@intrinsic
def operation_at(typing, address):  # type: ignore
    """Return the :data:`.operations.OPERATION` at an address."""
    return _record(OPERATION)


@intrinsic
def block_at(typing, address):  # type: ignore
    """Return the :data:`.operations.BLOCK` at an address."""
    return _record(BLOCK)


@intrinsic
def peek(typing, address):  # type: ignore
    """Return the float32 at an address."""
    return _reader(types.float32, ir.FloatType())


@intrinsic
def peek_int(typing, address):  # type: ignore
    """Return the int32 at an address."""
    return _reader(types.int32, ir.IntType(32))


@intrinsic
def peek_long(typing, address):  # type: ignore
    """Return the int64 at an address."""
    return _reader(types.int64, ir.IntType(64))


@intrinsic
def poke(typing, address, value):  # type: ignore
    """Store a float32 at an address."""
    return _writer(types.float32)


@intrinsic
def poke_long(typing, address, value):  # type: ignore
    """Store an int64 at an address."""
    return _writer(types.int64)


@intrinsic
def fetch(typing, address):  # type: ignore
    """Bring the 512 bytes from an address on to the cache, as they will be written."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(), word, word, word])
        prefetch = builder.module.globals.get(_PREFETCH) or ir.Function(builder.module, kind, _PREFETCH)
        for offset in range(0, 512, 64):
            address = builder.add(arguments[0], ir.IntType(64)(offset))
            builder.call(prefetch, [_pointer(builder, address), word(1), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def count_up(typing, address):  # type: ignore
    """Add 1 to the int64 at an address, whatever other threads do, and return what it was."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", _pointer(builder, arguments[0]), ir.IntType(64)(1), "seq_cst")

    return types.int64(types.int64), generate


@intrinsic
def count(typing, address):  # type: ignore
    """Return the int64 at an address; all that other threads wrote before they counted up can then be read."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_pointer(builder, arguments[0]), "seq_cst", 8, typ=ir.IntType(64))

    return types.int64(types.int64), generate
