"""Checks of constructor arguments, and arguments that got another name."""

from __future__ import annotations

import warnings
from typing import TypeVar

T = TypeVar("T")


def check_at_least(least: int, **arguments: int) -> None:
    """Check that no argument is below `least`; if one is, raise a ValueError.

    Example:
        >>> check_at_least(1, batch_size=0)
        Traceback (most recent call last):
        ValueError: batch_size is 0; pass 1 or more.
    """
    for name, value in arguments.items():
        if value < least:
            raise ValueError(f"{name} is {value}; pass {least} or more.")


def renamed(old_name: str, old: T | None, new_name: str, new: T) -> T:
    """Return the value of a renamed argument of the calling constructor; warn if it came under its old name.

    An old value other than None overrules the new one.
    """
    if old is None:
        return new
    warnings.warn(f"{old_name} is deprecated; pass {new_name}={old!r}", DeprecationWarning, stacklevel=3)
    return old
