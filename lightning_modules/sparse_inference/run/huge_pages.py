"""Memory in huge pages, where there are any: planes of maps, and weights, would each take pages of their own."""

from __future__ import annotations

import contextlib
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAGE = 2**21
_LARGE = 2**16  # bytes of an array from which on it goes to such memory
_CHUNK = 4 * PAGE


def zeros(size: int) -> NDArray[np.uint8]:
    """So many bytes, from the begin of a huge page on if they fill one."""
    memory = mmap.mmap(-1, -(-size // PAGE) * PAGE + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE") and size >= PAGE:
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    array = np.frombuffer(memory, np.uint8)
    return array[-array.ctypes.data % PAGE :] if size >= PAGE else array


class Shelf:
    """Keeps arrays, the large ones side by side in huge pages."""

    def __init__(self) -> None:
        self.kept: list[NDArray[Any]] = []
        self._room = np.zeros(0, np.uint8)

    def put(self, array: NDArray[Any]) -> int:
        """Keep an array as it is now; returns its address."""
        if array.nbytes < _LARGE:
            self.kept.append(np.array(array, order="C"))
            return int(self.kept[-1].ctypes.data)
        size = -(-array.nbytes // 64) * 64
        if size > len(self._room):
            self._room = zeros(max(size, _CHUNK))
            self.kept.append(self._room)
        here, self._room = self._room[: array.nbytes], self._room[size:]
        here.view(array.dtype)[:] = array.ravel()
        return int(here.ctypes.data)
