"""Tables of Markdown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[str] = ()) -> str:
    """Return a Markdown table; columns after the first are aligned to the right, but for those named in ``left``."""
    rules = ["---", *("---" if name in left else "---:" for name in header[1:])]
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(rules) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
