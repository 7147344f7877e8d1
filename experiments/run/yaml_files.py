"""YAML files: read with one line when they are damaged, and told from one another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error


def configuration_hash(config: Path, more: Sequence[str] = ()) -> str:
    """Return eight digits for what a YAML file says, and for the arguments of the command line besides it.

    The text of the file, such as comments and the order of keys, does not matter.
    """
    content = json.dumps([read_yaml(config), sorted(more)], sort_keys=True, default=str)
    return hashlib.blake2b(content.encode(), digest_size=4).hexdigest()
