"""The kernels as machine code, in a file from which later processes take them without numba, which takes longer."""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import os
import threading
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs
from llvmlite import binding

from . import machine
from .private_file import read_private, write_private

Run = Callable[[int], None]
"""Runs the operations of a plan, each by all threads that call this with the same ``counters``, without Python's lock.

Each thread takes the tasks of its own part of an operation, mostly about pixels that it made itself, which are in its
cache, and then those that others have not come to. The next operation begins when all tasks are done. A thread that
comes late finds nothing to do, and nobody waits for it.

It takes the address of these int64 numbers:
    operations: address of records of :data:`.operations.OPERATION`.
    length: how many they are.
    blocks: address of records of :data:`.operations.BLOCK`.
    counters: address of ``64 * (threads + 1)`` zero bytes an operation.
    number: of this thread.
    threads: that may come.
    tensors: address of the addresses of what is loaded and stored.
    first: number of the first image.
    valid: how many images there are from it on.
    memory: address of the workspace.
    scratch: address of this thread's own scratch.
"""

_KERNELS = ("kernels", "dot_kernels", "dot_loops", "map_kernels", "inner_loops")
SOURCES = (*_KERNELS, "machine", "memory", "operations", "target", "tiles", "vectors")
_PLACE = "NUMBA_CACHE_DIR"
_DIGEST = hashlib.sha256().digest_size

_lock = threading.Lock()
_loaded: dict[int, Run] = {}


class Code(NamedTuple):
    """An object file, the name of the function in it, and the names that it takes from elsewhere."""

    function: str
    externals: list[str]
    file: bytes


def kernels(width: int) -> Run:
    """The kernels for vectors of so many floats, compiled if this machine has not done so before.

    Compiled ones are kept in ``NUMBA_CACHE_DIR``, by default in the folder of the user's caches, unless others may
    write there.

    Raises:
        UnfitTargetError: the settings of numba forbid it.
    """
    with _lock:
        if width not in _loaded:
            _loaded[width] = _load(_code(width))
        return _loaded[width]


def _code(width: int) -> Code:
    path = _folder() / f"{_key(width)}.kernels"
    try:
        code = _read(path)
    except OSError as error:
        _say_not_kept(error)
        return _compiled(width)
    if code is None:
        code = _compiled(width)
        try:
            _write(path, code)
        except OSError as error:
            _say_not_kept(error)
    return code


def _compiled(width: int) -> Code:
    return Code(*importlib.import_module(".kernels", __package__).machine_code(width))


def _say_not_kept(error: OSError) -> None:
    warnings.warn(
        f"the kernels of sparse inference cannot be kept, so that each process compiles them anew ({error}). "
        "Mend that, or set NUMBA_CACHE_DIR to a folder that you alone can write to",
        stacklevel=2,
    )


def _folder() -> Path:
    return Path(os.environ.get(_PLACE) or platformdirs.user_cache_dir("sparse-lightning")).absolute()


def _key(width: int) -> str:
    """Names all that the machine code depends on."""
    known = [str(width), machine.NAME, machine.FEATURES, binding.get_process_triple()]
    known += [metadata.version(library) for library in ("numba", "llvmlite")]
    known += [
        f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("NUMBA_") and name != _PLACE
    ]
    sources = [Path(__file__).with_name(f"{name}.py").read_text() for name in SOURCES]
    return hashlib.sha256("\0".join([*known, *sources]).encode()).hexdigest()


def _read(path: Path) -> Code | None:
    """What :func:`_write` wrote; None if that is not there, or not whole."""
    try:
        content = read_private(path)
    except FileNotFoundError:
        return None
    digest, rest = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(rest).digest() != digest:
        return None
    names, _, file = rest.partition(b"\n")
    function, *externals = names.decode().split()
    return Code(function, externals, file)


def _write(path: Path, code: Code) -> None:
    rest = " ".join([code.function, *code.externals]).encode() + b"\n" + code.file
    write_private(path, hashlib.sha256(rest).digest() + rest)


def _load(code: Code) -> Run:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    for name in code.externals:
        if binding.address_of_symbol(name) is None:
            binding.add_symbol(name, _address(name))
    target = binding.Target.from_default_triple().create_target_machine()
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target)
    engine.add_object_file(binding.ObjectFileRef.from_data(code.file))
    engine.finalize_object()
    run: Any = ctypes.CFUNCTYPE(None, ctypes.c_int64)(engine.get_function_address(code.function))
    run.engine = engine  # in which it lives
    return run  # type: ignore[no-any-return]


def _address(name: str) -> int | None:
    """Where this process has something; what is numba's alone reports errors, of which the kernels make none."""
    found = getattr(ctypes.pythonapi, name, ctypes.pythonapi.abort)
    return ctypes.cast(found, ctypes.c_void_p).value
