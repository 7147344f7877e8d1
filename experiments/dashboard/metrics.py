"""The keys that are logged, and what a run's summary keeps of each."""

from __future__ import annotations

from collections.abc import Mapping

STEP = "trainer/global_step"  # the optimizer step; Lightning's WandbLogger logs it with every key

# The keys that README.md documents, each with what a run's summary keeps of it: "max" is kept as <key>.max, and where
# nothing is said the last value, as <key>. A name that ends in * stands for all that begin like it.
SUMMARIES: Mapping[str, str | None] = {
    "train/loss": None,
    "val/loss": "min",
    "val/acc": "max",
    "val/pck@0.2": "max",
    "val/pckh@0.5": "max",
    "test/*": None,
    "sparsity/*": None,
    "sparsity/target": None,
    "sparsity/actual": None,
    "sparsity/churn": None,
    "sparsity/explored": None,
    "sparsity/deferred": None,
    "sparsity/dead_units": None,
    "sparsity/train_flops": None,
    "grad_flow/*": None,
    "grad_flow/total": None,
    "grad_flow/active": None,
    "grad_flow/inactive": None,
    "grad_flow/probe": None,
    "grad_flow/before_update": None,
    "grad_flow/after_update": None,
    "grad_flow/delta": None,
    "grad_flow/not_finite": None,
    "hessian/*": None,
    "hessian/largest": None,
    "hessian/smallest": None,
    "hessian/negative_share": None,
}
