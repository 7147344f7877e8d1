"""Names of earlier releases, which work for one more release, with a warning that says what to write instead."""

from __future__ import annotations

import pkgutil
import warnings
from collections.abc import Mapping
from typing import Any


def look_up(package: str, name: str, new_names: Mapping[str, str]) -> Any:
    """Return what ``package.name`` was in an earlier release, and warn. For the ``__getattr__`` of a package.

    Args:
        package: the dotted name of the package.
        name: the attribute that the package was asked for and does not have.
        new_names: where in the package things are now, by their old names; an empty text is the package itself.

    Raises:
        AttributeError: the package never had that name.
    """
    if name not in new_names:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    path = f"{package}.{new_names[name]}".rstrip(".")
    warn_renamed(f"{package}.{name}", path, stacklevel=4)
    return pkgutil.resolve_name(path)


def warn_renamed(old: str, new: str, *, stacklevel: int = 3) -> None:
    """Warn that ``old`` is a name that the next release will not know; by default whoever called the caller."""
    message = f"{old} is deprecated and will not work in the next release; use {new}"
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)
