"""Classes under the names of earlier releases, for YAML that gives these without a package, as ``Dense``."""

from __future__ import annotations

import functools
from typing import Any

from .. import sparsity
from ..sparsity.old_names import warn_renamed


def _renamed(old: str, new: type) -> type:
    """Return a class that jsonargparse finds by its old name, whose constructor makes an object of the new class."""

    @functools.wraps(new.__init__)  # type: ignore[misc]  # its arguments, for jsonargparse
    def make(_cls: type, *args: Any, **kwargs: Any) -> Any:
        warn_renamed(old, new.__name__)
        return new(*args, **kwargs)

    return type(
        old, (new,), {"__new__": make, "__module__": __name__, "__doc__": f"The old name of :class:`{new.__name__}`."}
    )


globals().update({old: _renamed(old, getattr(sparsity, new)) for old, new in sparsity.RENAMED.items()})
