"""The provenance of results: commit, versions and machine."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch


def provenance() -> dict[str, str]:
    """Return the commit, with a "+" when files differ from it, the versions and the machine of this process."""
    git = ["git", "-C", str(Path(__file__).parents[1])]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", ":!results"], capture_output=True, text=True, check=True
        )
        revision = commit.stdout.strip() + ("+" if changed.stdout.strip() else "")
    except (OSError, subprocess.CalledProcessError):  # there is no git, or it may not be run
        revision = "unknown"
    lightning = version("pytorch-lightning")
    return {
        "commit": revision,
        "versions": f"python {platform.python_version()}, torch {torch.__version__}, pytorch-lightning {lightning}",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {_device()}",
    }


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
