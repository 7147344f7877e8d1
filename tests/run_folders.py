"""Writes the folders that runs leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_run(folder: Path, rows: str = "step,loss\n1,2.0\n", config: str | None = None, **record: Any) -> Path:
    """metrics.csv with these rows; config.yaml and run.json only if something is given for them."""
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(rows)
    if config is not None:
        (folder / "config.yaml").write_text(config)
    if record:
        plain = {"name": folder.parent.name, "method": "RigL", "minutes": 1.0}
        (folder / "run.json").write_text(json.dumps({**plain, **record}))
    return folder
