"""W&B that never asks and never fails: online where it can be, offline elsewhere."""

from __future__ import annotations

import netrc
import os
import socket
from urllib.parse import urlparse

import wandb

DEFAULT_SERVER = "https://api.wandb.ai"


def set_wandb_mode(timeout: float = 3.0) -> str:
    """Choose W&B's mode for this process and return it: "online" or "offline", or what WANDB_MODE says.

    Online needs an account (the WANDB_API_KEY variable or a netrc entry, as ``wandb login`` writes it) and a
    server that answers within ``timeout`` seconds; otherwise runs are kept in wandb/ for ``wandb sync``.
    """
    server = urlparse(os.environ.get("WANDB_BASE_URL", DEFAULT_SERVER))
    host, port = server.hostname or "", server.port or (443 if server.scheme == "https" else 80)
    online = _has_account(host) and _answers(host, port, timeout)
    return os.environ.setdefault("WANDB_MODE", "online" if online else "offline")


def finish_wandb() -> None:
    """End this process's W&B run, if there is one, so that the next WandbLogger starts its own."""
    if wandb.run is not None:
        wandb.finish()


def _has_account(host: str) -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(host) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


def _answers(host: str, port: int, timeout: float) -> bool:
    try:
        with socket.create_connection((host, port), timeout):
            return True
    except OSError:
        return False
