"""Text files that are whole at any moment, whoever is killed."""

from __future__ import annotations

from pathlib import Path


def write_whole_text(text: str, path: Path) -> None:
    """Write ``path``, which at no moment is there with half its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)
