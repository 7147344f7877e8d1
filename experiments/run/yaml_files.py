"""YAML files: read with one line when they are damaged, and told from one another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

MOST = 100_000
"""The most values of a file in which every alias is written out."""


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not YAML.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        _check_size(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date may have a month 13
        raise ValueError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    return content


def _check_size(content: object) -> None:
    """Refuse content that grows beyond all measure where its aliases are written out.

    Raises:
        ValueError: it has more than ``MOST`` values, or contains itself.
    """
    sizes: dict[int, int] = {}

    def size(value: object) -> int:
        if not isinstance(value, (dict, list)):
            return 1
        if sizes.setdefault(id(value), 0) < 0:
            raise ValueError("an alias in it stands for what it is part of")
        if not sizes[id(value)]:
            sizes[id(value)] = -1
            sizes[id(value)] = 1 + sum(map(size, value.values() if isinstance(value, dict) else value))
        return sizes[id(value)]

    if size(content) > MOST:
        raise ValueError(f"with its aliases written out it has more than {MOST:,} values")


def configuration_hash(config: Path, more: Sequence[str] = ()) -> str:
    """Return eight digits for what a YAML file says, and for the arguments of the command line besides it.

    The text of the file, such as comments and the order of keys, does not matter.
    """
    content = json.dumps([read_yaml(config), sorted(more)], sort_keys=True, default=str)
    return hashlib.blake2b(content.encode(), digest_size=4).hexdigest()
