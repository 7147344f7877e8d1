"""W&B runs that say what happened, and the workspace that shows them."""

from .callback import Dashboard

__all__ = ["Dashboard"]
