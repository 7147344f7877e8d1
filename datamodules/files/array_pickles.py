"""Pickles of arrays, read without running anything that is in them."""

from __future__ import annotations

import io
import pickle
from typing import Any, NoReturn

import numpy as np


class _Array:
    """The stand-in for `numpy.ndarray`, whose own way of restoring itself trusts what a pickle says."""

    def __init__(self, *_: object) -> None:
        self.array = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, kind, fortran, raw = state
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        self.array = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if fortran else "C")


class _Dtype:
    """The stand-in for `numpy.dtype`, for plain numbers alone."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in {kind + size for kind in "iuf" for size in "1248"} - {"f1"}:
            raise pickle.UnpicklingError(f"it holds an array of {code!r}, not of plain numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Bytes:
    """The stand-in for `codecs.encode`, with which Python 3 writes bytes in the protocol of Python 2."""

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]  # stands for a function
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"it holds bytes as {encoding!r}, not as 'latin1'")
        return text.encode(encoding)

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError("it changes bytes")


# Each has a __setstate__, without which a pickle could set attributes of the class itself.
_STANDINS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _Bytes,
}


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that builds stand-ins, and refuses whatever else a pickle asks for."""

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _STANDINS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no data need; it was not run")
        return _STANDINS[module, name]


def load_arrays(raw: bytes) -> dict[Any, Any]:
    """Return the dict in a pickle, whose values are arrays of numbers, or lists, dicts, strings and numbers.

    Nothing else can be built from it, and no function that it names is called. Strings of Python 2 are read
    as latin1. Arrays are read-only.

    Raises:
        ValueError: it is no such pickle.

    Example:
        >>> load_arrays(pickle.dumps({"labels": [1, 2], "data": np.arange(3, dtype="u1")}, protocol=2))
        {'labels': [1, 2], 'data': array([0, 1, 2], dtype=uint8)}
    """
    try:
        content = _ArrayUnpickler(io.BytesIO(raw), encoding="latin1").load()
    except Exception as error:  # damaged bytes raise whatever reading them runs into
        raise ValueError(f"it is no pickle of arrays: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not a dict")
    return {key: value.array if isinstance(value, _Array) else value for key, value in content.items()}
