"""The Lightning that is here: ``pytorch_lightning``, or ``lightning.pytorch`` where the former is not installed.

The two are one library under two names, whose classes know nothing of each other. The modules take it from here, and
so belong into a Trainer of it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING or find_spec("pytorch_lightning"):
    import pytorch_lightning as pl
    from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
    from pytorch_lightning.utilities.types import OptimizerLRScheduler
elif find_spec("lightning"):
    import lightning.pytorch as pl
    from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
    from lightning.pytorch.utilities.types import OptimizerLRScheduler
else:
    raise ModuleNotFoundError("Lightning is not installed: pip install pytorch-lightning, or pip install lightning")

__all__ = [
    "LRSchedulerCallable",
    "OptimizerCallable",
    "OptimizerLRScheduler",
    "pl",
]
