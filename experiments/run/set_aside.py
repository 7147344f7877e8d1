"""What was trained is never removed: it is moved aside, with a note."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

PREFIX = "aside_"


def set_aside(folder: Path, why: str) -> Path:
    """Rename a folder, such as ``version_1`` to ``aside_1_version_1``, and say so in one line; return its new path.

    Args:
        folder: the folder to rename; it stays in the same parent.
        why: why it is in the way, as the end of a sentence.
    """
    names = (f"{PREFIX}{number}_{folder.name}" for number in itertools.count(1))
    kept = folder.rename(next(path for name in names if not (path := folder.with_name(name)).exists()))
    print(f"{str(folder)!r} is kept as {str(kept)!r}, and what it was trained for begins anew: {why}", file=sys.stderr)
    return kept
