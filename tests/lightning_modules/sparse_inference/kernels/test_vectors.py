"""What vectors do otherwise on some machines."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
import numba
import numpy as np
import pytest
from numba import types

from lightning_modules.sparse_inference.kernels import processor, vectors
from lightning_modules.sparse_inference.kernels.vectors import I32, Emitter


@vectors.intrinsic
def _look_up(typing: Any, lanes: Any, out: Any, table: Any, places: Any) -> Any:
    """Floats at places, int32, of two vectors."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        e = Emitter(builder, lanes.count)
        _, out, table, places = arguments
        which = e.load(places, 0, ir.VectorType(I32, e.width))
        e.store(e.looked_up(table, e.load(table), e.load(table, e.bytes), which), out)
        return context.get_dummy_value()

    return types.void(lanes, types.int64, types.int64, types.int64), generate


def _misplaced(array: Any) -> Any:
    """The same numbers, from 4 bytes after the begin of a cache line on."""
    room = np.zeros(array.size + 32, array.dtype)
    start = -room.ctypes.data % 64 // 4 + 1
    room[start : start + array.size] = array
    return room[start : start + array.size]


@pytest.mark.parametrize("by_one_instruction", [False, True])
@pytest.mark.parametrize("lanes", [4, 16])
def test_floats_are_looked_up_with_and_without_an_instruction_for_it(
    lanes: int, by_one_instruction: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_one_instruction and not processor.AVX512:
        pytest.skip("this machine has no such instruction")
    monkeypatch.setattr(processor, "AVX512", by_one_instruction)
    generator = np.random.default_rng(0)
    table = _misplaced(generator.standard_normal(2 * lanes).astype(np.float32))
    places = _misplaced(generator.integers(0, 2 * lanes, lanes).astype(np.int32))
    out = _misplaced(np.zeros(lanes, np.float32))

    @numba.njit
    def run(out: int, table: int, places: int, lanes: Any) -> None:
        _look_up(lanes, out, table, places)

    run(out.ctypes.data, table.ctypes.data, places.ctypes.data, (None,) * lanes)
    assert np.array_equal(out, table[places])
