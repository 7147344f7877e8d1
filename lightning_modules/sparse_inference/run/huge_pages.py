"""Memory in huge pages, where there are any, so that planes of maps and weights do not each take pages of their own."""

from __future__ import annotations

import contextlib
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAGE = 2**21
_LARGE_ARRAY = 2**16  # bytes from which on an array goes to huge pages
_CHUNK = 4 * PAGE


def zeros(size: int) -> NDArray[np.uint8]:
    """Return ``size`` bytes of 0, from the beginning of a huge page on if they fill one."""
    memory = mmap.mmap(-1, -(-size // PAGE) * PAGE + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE") and size >= PAGE:
        with contextlib.suppress(OSError):  # this system has no huge pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    array = np.frombuffer(memory, np.uint8)
    return array[-array.ctypes.data % PAGE :] if size >= PAGE else array


class ConstantPool:
    """The constants of a program: copies of arrays, the large ones side by side in huge pages.

    Attributes:
        arrays: the memory in which the copies are; they live as long as it is kept.
    """

    def __init__(self) -> None:
        self.arrays: list[NDArray[Any]] = []
        self._unused = np.zeros(0, np.uint8)

    def add(self, array: NDArray[Any]) -> int:
        """Copy an array and return the address of the copy."""
        if array.nbytes < _LARGE_ARRAY:
            self.arrays.append(np.array(array, order="C"))
            return int(self.arrays[-1].ctypes.data)
        size = -(-array.nbytes // 64) * 64
        if size > len(self._unused):
            self._unused = zeros(max(size, _CHUNK))
            self.arrays.append(self._unused)
        copy, self._unused = self._unused[: array.nbytes], self._unused[size:]
        copy.view(array.dtype)[:] = array.ravel()
        return int(copy.ctypes.data)
