"""Files of MATLAB up to version 7.2, and the positions in them, which count from 1."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

FIRST_PIXEL = 1.0
"""The centre of the top-left pixel in MATLAB, on both axes; readers subtract it, and nothing else does.

For MPII this is settled. LSP and LSP-extended do not say, nor do their numbers; all usual code takes them so.
"""

LARGEST = 2**30
"""The most bytes of a variable, once it is unpacked."""

BYTE_ORDERS = {b"IM": "<", b"MI": ">"}
COMPRESSED = 15
TRY_TO_READ = "import sys; from scipy.io import loadmat; loadmat(sys.argv[1])"


def read_mat(path: Path, key: str | None = None, **options: Any) -> Any:
    """Return one variable of a .mat file, or all of them in a dict; `options` go to `scipy.io.loadmat`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, is no .mat file, or has no such variable.
    """
    from scipy.io import loadmat  # type: ignore[import-untyped]

    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; put the file there")
    try:
        if not _is_unchanged(path.read_bytes()):
            _survive(path)
        variables = loadmat(path, variable_names=key and [key], **options)
    except Exception as error:  # scipy raises whatever its parsing of damaged bytes runs into
        raise ValueError(
            f"'{path}' cannot be read as .mat (7.2 or before): {error!r}; it is damaged or no .mat file, take the "
            "original one"
        ) from error
    if key is None:
        return variables
    if key not in variables:
        raise ValueError(f"{path} has no variable {key!r}; take the data set's own annotation file")
    return variables[key]


def _is_unchanged(raw: bytes) -> bool:
    """Return whether all variables are compressed, so that they have checksums, which are right.

    The official files of data sets are.

    Raises:
        ValueError: a variable is larger than ``LARGEST``.
        zlib.error: a variable is not what was written.
        struct.error: the file ends too early.
    """
    order, at = BYTE_ORDERS.get(raw[126:128]), 128
    while order and at < len(raw):
        kind, size = struct.unpack_from(f"{order}II", raw, at)
        if kind != COMPRESSED or at + 8 + size > len(raw):
            return False
        variable = zlib.decompressobj()
        if len(variable.decompress(raw[at + 8 : at + 8 + size], LARGEST)) == LARGEST:
            raise ValueError(f"a variable takes more than {LARGEST} bytes")
        if not variable.eof:
            raise zlib.error("a variable is cut off")
        at += 8 + size
    return order is not None


def _survive(path: Path) -> None:
    """Read a file in another process, as scipy's reader may end its process where bytes are damaged.

    Raises:
        ValueError: the process has not survived it.
    """
    status = subprocess.run([sys.executable, "-c", TRY_TO_READ, str(path)], capture_output=True, check=False).returncode
    if status < 0:
        raise ValueError(f"a process that read it was ended by signal {-status}")
