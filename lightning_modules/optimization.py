"""What optimizes a module: weight decay for weights alone, a schedule in optimizer steps."""

from __future__ import annotations

from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn


def configured(
    module: nn.Module, optimizer: OptimizerCallable, scheduler: LRSchedulerCallable | None
) -> OptimizerLRScheduler:
    """What ``configure_optimizers`` returns.

    Args:
        module: whose parameters are trained.
        optimizer: called with two parameter groups; the second, biases, norms and other parameters of fewer than
            two dimensions, is without weight decay.
        scheduler: called with the optimizer, stepped after every optimizer step; None keeps the learning rate.
    """
    decayed = [p for p in module.parameters() if p.dim() > 1]
    others = [p for p in module.parameters() if p.dim() <= 1]
    made = optimizer([{"params": decayed}, {"params": others, "weight_decay": 0.0}])
    if scheduler is None:
        return made
    return {"optimizer": made, "lr_scheduler": {"scheduler": scheduler(made), "interval": "step"}}
