"""Annotations written by MATLAB: files of version 5, positions that count from 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FIRST_PIXEL = 1.0
"""The centre of the top-left pixel in MATLAB, on both axes; readers subtract it, and nothing else does.

For MPII this is settled. LSP and LSP-extended do not say, nor do their numbers; all usual code takes them so.
"""


def read_mat(path: Path, key: str, **options: Any) -> Any:
    """Returns one variable of a .mat file; `options` go to `scipy.io.loadmat`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no .mat file, is damaged, or has no such variable.
    """
    from scipy.io import loadmat  # type: ignore[import-untyped]

    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; put the data set's annotation file there")
    try:
        return loadmat(path, variable_names=[key], **options)[key]
    except KeyError as error:
        raise ValueError(f"{path} has no variable {key!r}; take the data set's own annotation file") from error
    except Exception as error:  # scipy raises whatever its parsing of damaged bytes runs into
        raise ValueError(f"{path} is damaged or no .mat file: {error!r}; take the data set's own one") from error
