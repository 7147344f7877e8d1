"""Files of MATLAB up to version 7.2, and the positions in them, which count from 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FIRST_PIXEL = 1.0
"""The centre of the top-left pixel in MATLAB, on both axes; readers subtract it, and nothing else does.

For MPII this is settled. LSP and LSP-extended do not say, nor do their numbers; all usual code takes them so.
"""


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
