"""Files that the version before methods were objects has written, and the fits that they come from.

``python tests/earlier.py FOLDER`` writes them; it was run once, with that version.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from fits import OPTIMIZERS, loader, trainer
from methods import METHODS, Method
from torch import Tensor, nn

from callbacks import GradualPruning, HessianSpectrum, LotteryTicket, MaskOwner
from callbacks.sparsity import Masks, PruningWindow, prune
from lightning_modules.sparse_inference import save_sparse

NAMES = ("static", "rigl-accumulates", "srigl", "nm", "groups", "snfs", "top-kast", "granet", "gmp-global", "snip")
STOP, STEPS = 10, 18
FOLDER = Path(__file__).parent / "earlier"


class Small(pl.LightningModule):
    """A convolution and two linear layers, so that files are small."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(
            *(nn.Conv2d(1, 4, 3, stride=2), nn.Identity(), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(36, 12), nn.ReLU(), nn.Linear(12, 5)),
        )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return OPTIMIZERS["sgd-momentum"](self.parameters())


def build(name: str) -> MaskOwner:
    method: Method = next(method for method in METHODS if method.name == name)
    return method.build(0.6, seed=4) if method.sized else method.build(seed=4)


class Keep(pl.Callback):
    """Saves a checkpoint after ``STOP`` steps."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == STOP:
            trainer.save_checkpoint(self.path)


def end_of(owner: MaskOwner, module: pl.LightningModule) -> dict[str, Any]:
    """What a fit has come to."""
    return {"weights": dict(module.state_dict()), "masks": owner.masks.state_dict(), "explored": owner.explored()}


def fit(name: str, callbacks: Sequence[pl.Callback] = (), ckpt_path: Path | None = None) -> dict[str, Any]:
    owner, module = build(name), Small()
    trainer([owner, *callbacks], max_steps=STEPS).fit(module, loader(samples=16), ckpt_path=ckpt_path)
    return end_of(owner, module)


def packed() -> tuple[nn.Linear, Masks]:
    """A layer whose places are written one by one, as they are from some sparsity on."""
    torch.manual_seed(0)
    layer = nn.Linear(64, 32)
    return layer, prune(layer, 0.95)


def lottery(folder: Path) -> LotteryTicket:
    return LotteryTicket(folder, GradualPruning(0.6, window=PruningWindow(4, start=0.0, stop=12)), rewind_step=2)


def spectrum_of(folder: Path) -> HessianSpectrum:
    return HessianSpectrum(at_steps=[2], probe_batch=8, folder=folder)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ends = {name: fit(name, [Keep(folder / f"{name}.ckpt")]) for name in NAMES}
    torch.save(ends, folder / "ends.pt")
    layer, masks = packed()
    save_sparse(layer, folder / "packed.safetensors", masks=masks)
    torch.save({"weights": layer.state_dict(), "masks": masks.state_dict()}, folder / "packed.pt")
    run = lottery(folder / "lottery").run(
        Small(),
        loader(samples=16),
        lambda callbacks, _: trainer(callbacks, max_steps=STEPS, enable_checkpointing=True),
    )
    next(iter(run)).path.rename(folder / "ticket.ckpt")
    shutil.rmtree(folder / "lottery")
    fit("static", [spectrum_of(folder / "spectra")])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
