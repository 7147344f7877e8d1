"""The kernels as machine code: an object file, and how a process loads it, for which numba is not needed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import binding

Run = Callable[[int], None]
"""A function that runs the operations of a program, each by all threads that call it with the same ``counters``.

It does so without Python's lock. Each thread takes the tasks of its own part of an operation, mostly about pixels that
it made itself and that are in its cache, and then the tasks that other threads have not come to. The next operation
begins when all tasks are done. A thread that comes late finds nothing to do, and nobody waits for it.

Its argument is the address of these int64 numbers:
    operations: the address of records of :data:`.operations.OPERATION`.
    length: the number of these records.
    blocks: the address of records of :data:`.operations.BLOCK`.
    counters: the address of ``64 * (threads + 1)`` zero bytes for each operation.
    number: the number of this thread.
    threads: how many threads may come.
    tensors: the address of the addresses of what is loaded and stored.
    first: the number of the first image.
    valid: how many images there are from it on.
    memory: the address of the workspace.
    scratch: the address of this thread's own scratch.
"""


class MachineCode(NamedTuple):
    """An object file, the name of the function in it, and the names that it takes from elsewhere."""

    function: str
    externals: list[str]
    file: bytes

    def load(self) -> Run:
        """Return the function, ready to be called."""
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        for name in self.externals:
            if binding.address_of_symbol(name) is None:
                binding.add_symbol(name, _address(name))
        target = binding.Target.from_default_triple().create_target_machine()
        engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target)
        engine.add_object_file(binding.ObjectFileRef.from_data(self.file))
        engine.finalize_object()
        run: Any = ctypes.CFUNCTYPE(None, ctypes.c_int64)(engine.get_function_address(self.function))
        run.engine = engine  # the code lives in it
        return run  # type: ignore[no-any-return]


def _address(name: str) -> int | None:
    """Return the address of a function in this process.

    What only numba has are functions that report errors. The kernels make none, so that ``abort`` stands in for them.
    """
    function = getattr(ctypes.pythonapi, name, ctypes.pythonapi.abort)
    return ctypes.cast(function, ctypes.c_void_p).value
