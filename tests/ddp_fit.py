"""Run under torchrun: fits on several ranks and saves what each rank saw.

torchrun --nproc_per_node 2 tests/ddp_fit.py OUT SCENARIO
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from fits import TinyModule, data, trainer
from methods import METHODS
from operations import Operations
from pose_fits import estimator, figures
from torch.utils.data import DataLoader, DistributedSampler

from callbacks import GradientFlowMonitor, MaskOwner, RigL, SparseGroups, SparseTraining
from callbacks.sparsity import UpdateWindow

RANK = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0)))
WORLD = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", 1)))
NODES = int(os.environ.get("GROUP_WORLD_SIZE", os.environ.get("SLURM_NNODES", 1)))
STEPS = 10


class PlainModule(TinyModule):
    """Without batch norm, whose statistics would differ between one process and two."""

    def __init__(self) -> None:
        super().__init__()
        self.network[1] = torch.nn.Identity()


def fit_method(name: str) -> dict[str, object]:
    """The same global batch of 32 whatever the number of ranks."""
    owner = next(m for m in METHODS if m.name == name).build(0.8)
    module, operations = PlainModule(), Operations()
    operations.watch_updates(owner)
    fit_on_all_ranks(module, [GradientFlowMonitor(every_n_steps=1), owner])
    return {**seen(module, owner), "sent": operations.sent}


def seen(module: pl.LightningModule, owner: MaskOwner) -> dict[str, object]:
    weights = {name: p.detach().clone() for name, p in module.named_parameters()}
    return {"digest": owner.masks.digest(), "masks": dict(owner.masks), "weights": weights}


def fit_on_all_ranks(
    module: pl.LightningModule, callbacks: list[pl.Callback], ckpt_path: Path | None = None, **length: int
) -> None:
    strategy = "ddp" if WORLD > 1 else "auto"
    ranks = {"devices": WORLD // NODES, "num_nodes": NODES, "strategy": strategy}
    fitted = trainer(callbacks, **ranks, **(length or {"max_steps": STEPS}))
    # dealt out in turn, so that a global batch holds the same samples; Lightning's own sampler would shuffle
    order = DistributedSampler(data(128), num_replicas=WORLD, rank=RANK, shuffle=False)
    fitted.fit(module, DataLoader(data(128), batch_size=32 // WORLD, sampler=order), ckpt_path=ckpt_path)


class Save(pl.Callback):
    """Saves at the end of the second epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        if trainer.global_step == 8:
            trainer.save_checkpoint(self.path)


def fit_and_save(out: Path) -> dict[str, object]:
    """RigL over four epochs, saved on the way; from what is there, on however many ranks, if something is."""
    module, path = PlainModule(), out / "saved.ckpt"
    owner = next(m for m in METHODS if m.name == "rigl").build(0.8)
    begun = path.is_file()
    saved = [] if begun else [Save(path)]
    fit_on_all_ranks(module, [owner, *saved], path if begun else None, max_epochs=4, max_steps=-1)
    return seen(module, owner)


def fit_poses() -> dict[str, object]:
    """A sparse pose estimator on drawn figures, scored before it learns."""
    owner = RigL(0.5, exclude=["*head*", "*.stem.0.*"], window=UpdateWindow(2, stop=1.0))
    module = estimator()
    strategy = "ddp" if WORLD > 1 else "auto"
    fitted = trainer([owner], devices=WORLD, strategy=strategy, max_steps=5)
    data_module = figures(train_size=24, val_size=10)
    [scores] = fitted.validate(module, data_module, verbose=False)
    fitted.fit(module, data_module)
    weights = {name: p.detach().clone() for name, p in module.named_parameters()}
    return {"scores": scores, "digest": owner.masks.digest(), "weights": weights}


class Drift(pl.Callback):
    """Changes the gradients of rank 1 alone, as a broken hook would."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        if RANK == 1:
            pl_module.network[4].weight.grad.copy_(torch.randn(24, 288))


def main(out: Path, scenario: str) -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    if scenario == "methods":
        torch.save({m.name: fit_method(m.name) for m in METHODS}, out / f"world{WORLD}-rank{RANK}.pt")
    elif scenario == "some methods":
        torch.save({name: fit_method(name) for name in ("rigl", "gmp", "snfs")}, out / f"world{WORLD}-rank{RANK}.pt")
    elif scenario == "saved":
        torch.save(fit_and_save(out), out / f"world{WORLD}-rank{RANK}.pt")
    elif scenario == "poses":
        torch.save(fit_poses(), out / f"world{WORLD}-rank{RANK}.pt")
    elif scenario == "seeds":
        fit_on_all_ranks(PlainModule(), [SparseTraining(0.8, seed=RANK)])
    elif scenario == "windows":
        groups = SparseGroups([RigL(0.8, window=UpdateWindow(2 + RANK))])
        fit_on_all_ranks(PlainModule(), [groups])
    elif scenario == "drift":
        fit_on_all_ranks(PlainModule(), [Drift(), RigL(0.8, window=UpdateWindow(2, stop=1.0))])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
