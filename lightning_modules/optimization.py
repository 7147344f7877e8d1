"""The optimizer of a module: weight decay for weights alone, and a schedule in optimizer steps."""

from __future__ import annotations

from torch import nn

from .either_lightning import LRSchedulerCallable, OptimizerCallable, OptimizerLRScheduler


def build_optimizer(
    module: nn.Module, optimizer: OptimizerCallable, scheduler: LRSchedulerCallable | None
) -> OptimizerLRScheduler:
    """Return what a module's ``configure_optimizers`` returns.

    Args:
        module: the module whose parameters are trained.
        optimizer: called with two parameter groups. The second one holds biases, norms and other parameters of fewer
            than two dimensions, and has no weight decay.
        scheduler: called with the optimizer and stepped after every optimizer step; None keeps the learning rate.
    """
    decayed = [parameter for parameter in module.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in module.parameters() if parameter.dim() <= 1]
    built = optimizer([{"params": decayed}, {"params": others, "weight_decay": 0.0}])
    if scheduler is None:
        return built
    return {"optimizer": built, "lr_scheduler": {"scheduler": scheduler(built), "interval": "step"}}
