"""The compiled kernels, kept in a file from which later processes load them, since compiling takes seconds."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from importlib import metadata
from pathlib import Path

import platformdirs
from llvmlite import binding

from ..kernels import processor
from ..kernels.machine_code import MachineCode, Run
from .private_file import read_private, write_private

SOURCES = Path(processor.__file__).parent
_FOLDER_SETTING = "NUMBA_CACHE_DIR"
_DIGEST_BYTES = hashlib.sha256().digest_size

_lock = threading.Lock()
_loaded: dict[int, Run] = {}


def load_kernels(vector_width: int) -> Run:
    """Return the kernels for vectors of ``vector_width`` floats, compiled if this machine has not done so before.

    Compiled ones are kept in ``NUMBA_CACHE_DIR``, by default in the folder of the user's caches, unless others may
    write there.

    Raises:
        UnfitTargetError: the settings of numba forbid it.
    """
    with _lock:
        if vector_width not in _loaded:
            _loaded[vector_width] = _machine_code(vector_width).load()
        return _loaded[vector_width]


def _machine_code(vector_width: int) -> MachineCode:
    """Return what is kept; compile it and keep it if there is nothing."""
    try:
        path = folder() / f"{key(vector_width)}.kernels"
        code = read(path)
    except OSError as error:
        _warn_not_kept(error)
        return _compiled(vector_width)
    if code is None:
        code = _compiled(vector_width)
        try:
            _write(path, code)
        except OSError as error:
            _warn_not_kept(error)
    return code


def _compiled(vector_width: int) -> MachineCode:
    """Return kernels that are compiled now."""
    from ..kernels import compile_kernels  # imports numba, which takes as long as all else that inference imports

    return compile_kernels.compile_kernels(vector_width)


def _warn_not_kept(error: OSError) -> None:
    """Warn that each process will compile the kernels anew."""
    warnings.warn(
        f"the kernels of sparse inference cannot be kept, so that each process compiles them anew ({error}). "
        "Mend that, or set NUMBA_CACHE_DIR to a folder that you alone can write to",
        stacklevel=2,
    )


def folder() -> Path:
    """Return the folder in which compiled kernels are kept.

    Raises:
        OSError: the user has no folder for caches: HOME is not set, and the system does not know the user.
    """
    if chosen := os.environ.get(_FOLDER_SETTING):
        return Path(chosen).absolute()
    try:
        return Path(platformdirs.user_cache_dir("sparse-lightning")).absolute()
    except RuntimeError as error:
        raise OSError(f"the user has no folder for caches, {error}") from error


def key(vector_width: int) -> str:
    """Return a hash of all that the machine code depends on."""
    parts = [str(vector_width), processor.NAME, processor.FEATURES, binding.get_process_triple()]
    parts += [metadata.version(library) for library in ("numba", "llvmlite")]
    settings = {name: value for name, value in os.environ.items() if name.startswith("NUMBA_")}
    parts += [f"{name}={value}" for name, value in sorted(settings.items()) if name != _FOLDER_SETTING]
    parts += [text for path in sorted(SOURCES.glob("*.py")) for text in (path.name, path.read_text(encoding="utf-8"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read(path: Path) -> MachineCode | None:
    """Return what :func:`_write` wrote; None if it is not there, or not whole."""
    try:
        content = read_private(path)
    except FileNotFoundError:
        return None
    digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(rest).digest() != digest:
        return None
    names, _, file = rest.partition(b"\n")
    function, *externals = names.decode().split()
    return MachineCode(function, externals, file)


def _write(path: Path, code: MachineCode) -> None:
    """Write machine code with a hash in front of it."""
    rest = " ".join([code.function, *code.externals]).encode() + b"\n" + code.file
    write_private(path, hashlib.sha256(rest).digest() + rest)
