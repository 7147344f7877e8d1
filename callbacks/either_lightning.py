"""The Lightning that is here: ``pytorch_lightning``, or ``lightning.pytorch`` where the former is not installed.

The two are one library under two names, whose classes know nothing of each other. All of callbacks takes it from here.
Callbacks work in the Trainers of both, so that what a Trainer holds is told by :func:`of_either`.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING or find_spec("pytorch_lightning"):
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import BaseFinetuning, Checkpoint, StochasticWeightAveraging, WeightAveraging
    from pytorch_lightning.core.optimizer import do_nothing_closure
    from pytorch_lightning.plugins.io import TorchCheckpointIO
    from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy, ModelParallelStrategy, SingleDeviceStrategy
    from pytorch_lightning.trainer.states import TrainerFn
    from pytorch_lightning.utilities import rank_zero_info, rank_zero_only, rank_zero_warn
    from pytorch_lightning.utilities.data import extract_batch_size
    from pytorch_lightning.utilities.model_helpers import is_overridden
    from pytorch_lightning.utilities.seed import isolate_rng
    from pytorch_lightning.utilities.signature_utils import is_param_in_hook_signature
elif find_spec("lightning"):
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import BaseFinetuning, Checkpoint, StochasticWeightAveraging, WeightAveraging
    from lightning.pytorch.core.optimizer import do_nothing_closure
    from lightning.pytorch.plugins.io import TorchCheckpointIO
    from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, ModelParallelStrategy, SingleDeviceStrategy
    from lightning.pytorch.trainer.states import TrainerFn
    from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn
    from lightning.pytorch.utilities.data import extract_batch_size
    from lightning.pytorch.utilities.model_helpers import is_overridden
    from lightning.pytorch.utilities.seed import isolate_rng
    from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
else:
    raise ModuleNotFoundError("Lightning is not installed: pip install pytorch-lightning, or pip install lightning")

__all__ = [
    "NAMES",
    "BaseFinetuning",
    "Checkpoint",
    "DDPStrategy",
    "DeepSpeedStrategy",
    "ModelParallelStrategy",
    "SingleDeviceStrategy",
    "StochasticWeightAveraging",
    "TorchCheckpointIO",
    "TrainerFn",
    "WeightAveraging",
    "do_nothing_closure",
    "extract_batch_size",
    "is_param_in_hook_signature",
    "isolate_rng",
    "of_either",
    "overrides",
    "pl",
    "rank_zero_info",
    "rank_zero_only",
    "rank_zero_warn",
]

NAMES = ("pytorch_lightning", "lightning.pytorch")


def of_either(*kinds: type) -> tuple[type, ...]:
    """Return classes of the Lightning that is here, and those of the same names in the other one if it is imported.

    Example:
        >>> isinstance(pl.Callback(), of_either(pl.Callback))
        True
    """
    here = next(name for name in NAMES if pl.__name__ == name)
    there = next(name for name in NAMES if pl.__name__ != name)
    places = [(sys.modules.get(kind.__module__.replace(here, there, 1)), kind.__name__) for kind in kinds]
    return (*kinds, *(getattr(module, name) for module, name in places if hasattr(module, name)))


def overrides(module: pl.LightningModule, *hooks: str) -> bool:
    """Return whether a module of either Lightning has a hook of its own."""
    bases = of_either(pl.LightningModule)
    [parent, *_] = [base for base in type(module).__mro__ if base in bases]
    return any(is_overridden(hook, module, parent) for hook in hooks)
