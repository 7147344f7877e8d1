"""One run of a study, and what is kept of it."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR

from callbacks import GradientFlowMonitor, HessianSpectrum, MaskOwner
from callbacks.checkpoint import STATE_KEY, owner_state
from callbacks.files.safe_files import read_safely, write_whole
from callbacks.sparsity import Masks
from callbacks.sparsity.analysis.curvature import Progress
from datamodules import MNISTDataModule
from lightning_modules import SparseClassifier

from ..run.provenance import provenance
from ..run.set_aside import set_aside
from .arms import STEPS, Arm

FAILED_BELOW = 0.2  # a network that never trained gives one digit for every image: 11.35 %


@dataclass(frozen=True)
class Settings:
    """The settings that all runs of a study share: folder, length in optimizer steps, arguments of MNISTDataModule."""

    folder: Path
    steps: int = STEPS
    data: tuple[tuple[str, Any], ...] = ()

    def steps_of(self, arm: Arm) -> int:
        """Return the optimizer steps of a run of the arm."""
        return min(self.steps, max(arm.spectra) + 1) if arm.spectra else self.steps

    def product(self, arm: str, seed: int) -> Path:
        """Return the path of what a finished run leaves; there is no such file before it is whole."""
        return self.folder / arm / str(seed) / "run.pt"


class StartWeights(pl.Callback):
    """A callback that keeps the weights from which the first step starts."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.weights = _weights(pl_module)


def train(arm: Arm, seed: int, settings: Settings, progress: Progress | None = None) -> dict[str, object]:
    """Train and test one run, write its product, and return its row of the results.

    The product is a file of plain tensors: ``start`` and ``end`` (weights of the network), ``probabilities``
    (test samples, classes), ``row``, and, if there are masks, the state that ``masks_from`` reads. The minutes in the
    row are those of this process on its one core, whatever else the machine does meanwhile.

    Args:
        arm: the arm to train.
        seed: the seed of the run.
        settings: the settings of the study.
        progress: is called with the progress of the Hessians that the arm measures.
    """
    torch.set_num_threads(1)
    begun, source = time.process_time(), provenance()
    product = settings.product(arm.name, seed)
    if product.parent.is_dir() and any(product.parent.iterdir()):
        set_aside(product.parent, "a run there was killed, or its product is made again")
    # Fresh weights depend on the seed alone, so that methods can be compared, and differ from those of pruned runs.
    origin = "pruned" if arm.name == "pruned" else "fresh"
    drawn = _seed(origin, 0 if arm.weights == "same" else seed)
    pl.seed_everything(drawn, verbose=False)
    network, owner = _make_network(arm, settings, drawn)
    mnist = MNISTDataModule(seed=_seed(arm.name, seed), **{"val_size": 0, **dict(settings.data)})
    start = StartWeights()
    callbacks = [*_monitors(arm, product.parent, progress), *([owner] if owner else []), start]
    trainer = _make_trainer(product.parent, settings.steps_of(arm), callbacks)
    module = SparseClassifier(
        network,
        num_classes=10,
        optimizer=lambda parameters: SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3),
        scheduler=lambda optimizer: CosineAnnealingLR(optimizer, settings.steps),
    )
    trainer.fit(module, mnist)
    probabilities = torch.cat([batch for batch in trainer.predict(module, mnist) or [] if isinstance(batch, Tensor)])
    labels = torch.cat([label for _, label in mnist.test_dataloader()])
    test_acc = float((probabilities.argmax(dim=1) == labels).float().mean())
    row = {
        "arm": arm.name,
        "data": "MNIST",
        "seed": seed,
        "steps": trainer.global_step,
        "test_acc": f"{test_acc:.4f}",
        "failed": int(test_acc < FAILED_BELOW),
        "minutes": f"{(time.process_time() - begun) / 60:.1f}",
        **source,
    }
    kept = {"row": row, "start": start.weights, "end": _weights(module), "probabilities": probabilities}
    if owner:
        kept["callbacks"] = {STATE_KEY: owner_state(owner.masks, [trainer.global_step])}
    write_whole(kept, product)
    return row


def _make_network(arm: Arm, settings: Settings, seed: int) -> tuple[nn.Module, MaskOwner | None]:
    """Return the network of an arm with its first weights, and the owner of its masks, if it has any."""
    pruned = settings.product("pruned", arm.masks) if arm.masks is not None else None
    network: nn.Module = arm.network().to(memory_format=torch.channels_last)  # a third faster than the default
    if pruned and arm.weights in ("start", "end"):
        network.load_state_dict(read_product(pruned)[arm.weights])
    owner = arm.method(seed=seed, **({"masks_from": pruned} if pruned else {})) if arm.method else None
    return network, owner


def _monitors(arm: Arm, folder: Path, progress: Progress | None) -> list[pl.Callback]:
    flow = GradientFlowMonitor(every_n_steps=100, probe_batch=1000)
    if not arm.spectra:
        return [flow]
    hessians = HessianSpectrum(around_updates=arm.spectra, folder=folder / "hessian")
    hessians.progress = progress
    return [flow, hessians]


def _make_trainer(folder: Path, steps: int, callbacks: list[pl.Callback]) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        logger=CSVLogger(folder, name="", version=""),
        callbacks=callbacks,
        log_every_n_steps=100,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )


def read_product(path: Path) -> dict[str, Any]:
    """Read what :func:`train` kept, with ``masks`` unpacked where there are any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or not the product of a run.
    """
    kept = read_safely(path)
    if not isinstance(kept, dict) or not {"row", "start", "end", "probabilities"} <= kept.keys():
        raise ValueError(f"{str(path)!r} is not what a run of the study leaves: delete it, and the run is made again")
    for state in kept.pop("callbacks", {}).values():
        masks = Masks.from_state_dict(state["masks"])
        kept["masks"] = {name.removeprefix("network."): mask for name, mask in masks.items()}
    return kept


def _weights(module: pl.LightningModule) -> dict[str, Tensor]:
    return {
        name.removeprefix("network."): tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
        if name.startswith("network.")
    }


def _seed(*of: object) -> int:
    return zlib.crc32("/".join(map(str, of)).encode())
