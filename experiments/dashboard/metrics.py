"""Which keys are logged, and what of each a run's summary keeps."""

from __future__ import annotations

from collections.abc import Mapping

STEP = "trainer/global_step"  # the optimizer step; Lightning's WandbLogger logs it with every key

# W&B's summary of each key that README.md documents; a name that ends in * stands for all that begin like it
SUMMARIES: Mapping[str, str] = {
    "train/loss": "min,last",
    "val/loss": "min",
    "val/acc": "max",
    "val/pck@0.2": "max",
    "val/pckh@0.5": "max",
    "test/*": "last",
    "sparsity/*": "last",
    "sparsity/target": "last",
    "sparsity/actual": "last",
    "sparsity/churn": "mean,last",
    "sparsity/explored": "last",
    "sparsity/deferred": "max",
    "sparsity/dead_units": "max,last",
    "sparsity/train_flops": "max",
    "grad_flow/*": "last",
    "grad_flow/total": "last",
    "grad_flow/active": "last",
    "grad_flow/inactive": "last",
    "grad_flow/probe": "last",
    "grad_flow/before_update": "last",
    "grad_flow/after_update": "last",
    "grad_flow/delta": "mean,last",
    "grad_flow/not_finite": "max",
    "hessian/*": "last",
    "hessian/largest": "max,last",
    "hessian/smallest": "min,last",
    "hessian/negative_share": "last",
}
