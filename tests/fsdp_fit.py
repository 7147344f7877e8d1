"""Run under torchrun: fits whose weights FSDP2 shards over the ranks, and saves what each rank saw.

torchrun --nproc_per_node 2 tests/fsdp_fit.py OUT SCENARIO
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from ddp_fit import RANK, STEPS, WORLD, PlainModule, Save
from fits import data, trainer
from methods import METHODS
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader, DistributedSampler
from zeros import Zeros

from callbacks import GradientFlowMonitor, MaskOwner
from callbacks.sparsity.masks.sharding import gather

NAMES = ("static", "set", "rigl", "saliency-drop", "gmp", "gmp-global", "groups")


class Sharded(PlainModule):
    """Each layer of its own, and what is left."""

    def configure_model(self) -> None:
        if WORLD > 1 and not isinstance(self.network[0].weight, DTensor):
            mesh = self.device_mesh["data_parallel"]
            for layer in (self.network[0], self.network[4]):
                fully_shard(layer, mesh=mesh)
            fully_shard(self.network, mesh=mesh)


def build(name: str) -> MaskOwner:
    return next(m for m in METHODS if m.name == name).build(0.8)


def fit(
    callbacks: list[pl.Callback], ckpt: Path | None = None, in_parts: bool = False, **length: int
) -> tuple[pl.Trainer, dict]:
    """The same global batch of 32 whatever the number of ranks; checkpoints are folders if saved in parts."""
    module = Sharded()
    sharded = ModelParallelStrategy(
        data_parallel_size=WORLD, tensor_parallel_size=1, save_distributed_checkpoint=in_parts
    )
    fitted = trainer(callbacks, devices=WORLD, strategy=sharded if WORLD > 1 else "auto", **length)
    order = DistributedSampler(data(128), num_replicas=WORLD, rank=RANK, shuffle=False)
    fitted.fit(module, DataLoader(data(128), batch_size=32 // WORLD, sampler=order), ckpt_path=ckpt)
    weights: dict[str, Tensor] = {name: gather(p.detach()).clone() for name, p in module.named_parameters()}
    return fitted, weights


def fit_method(name: str) -> dict[str, object]:
    owner = build(name)
    fitted, weights = fit([GradientFlowMonitor(every_n_steps=1), owner, Zeros(owner, state=True)], max_steps=STEPS)
    flow = {key: float(value) for key, value in fitted.callback_metrics.items() if key.startswith("grad_flow")}
    return {"digest": owner.masks.digest(), "masks": dict(owner.masks), "weights": weights, "flow": flow}


def fit_and_resume(out: Path, name: str, in_parts: bool) -> dict[str, object]:
    """A whole run, and one that goes on from its checkpoint."""
    found = []
    for ckpt in (None, out / f"{name}.ckpt"):
        owner = build(name)
        callbacks = [owner, Zeros(owner, state=True), *([Save(out / f"{name}.ckpt")] if ckpt is None else [])]
        _, weights = fit(callbacks, ckpt, in_parts, max_epochs=4, max_steps=-1)
        found.append({"digest": owner.masks.digest(), "weights": weights})
    return {"whole": found[0], "resumed": found[1]}


def main(out: Path, scenario: str) -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    if scenario == "methods":
        found: dict = {name: fit_method(name) for name in NAMES}
    else:
        found = {name: fit_and_resume(out, name, in_parts) for name, in_parts in (("rigl", False), ("gmp", True))}
    torch.save(found, out / f"rank{RANK}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
