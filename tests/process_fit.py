"""Run as a program: fits that train in other processes, and what callbacks in the first one know then.

python tests/process_fit.py OUT

Every process sees all samples, so that two of them end with the bits of one.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from fits import TinyModule, loader, trainer
from methods import METHODS
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers.launcher import _Launcher

from callbacks import HessianSpectrum, MaskOwner, TrainingFlops
from callbacks.sparsity import LanczosSpectrum


class Validated(TinyModule):
    def extra_repr(self) -> str:
        return f"in process {os.getpid()}"  # as a list of parameters says on which GPU they are

    def validation_step(self, batch, batch_idx) -> None:
        self.log("loss", torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1]))


class Late(TinyModule):
    """Has its layers only in the process that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.network = [self.network], None

    def configure_model(self) -> None:
        self.network = self.network or self.layers[0]


class OwnLauncher(_Launcher):
    """Trains in one process that it forks, and brings the weights back by itself, as those of other projects do."""

    is_interactive_compatible = True

    def __init__(self, disk: str) -> None:
        self.disk = disk  # of the process: the same, one that is full, or that of another machine

    def launch(self, function: Callable[..., Any], *args: Any, trainer: pl.Trainer, **kwargs: Any) -> Any:
        folder = Path(tempfile.gettempdir())
        weights = folder.with_name("weights.pt")

        def work() -> None:
            if self.disk == "full":
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
            function(*args, **kwargs)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            torch.save(trainer.lightning_module.state_dict(), weights)

        if self.disk == "far":
            shutil.rmtree(folder)
            folder.mkdir()
        process = get_context("fork").Process(target=work)
        process.start()
        process.join()
        assert process.exitcode == 0
        trainer.lightning_module.load_state_dict(torch.load(weights))

    def kill(self, signum: Any) -> None: ...


class OwnStrategy(DDPStrategy):
    def __init__(self, disk: str) -> None:
        super().__init__()
        self.disk = disk

    def _configure_launcher(self) -> None:
        self._launcher = OwnLauncher(self.disk)


DISKS = ("same", "full", "far")


def started_by(strategy: str, callbacks: list[pl.Callback]) -> pl.Trainer:
    devices = 2 if strategy in ("ddp_notebook", "ddp_fork") else 1
    chosen = OwnStrategy(strategy) if strategy in DISKS else strategy
    return trainer(callbacks, strategy=chosen, devices=devices, use_distributed_sampler=False, max_steps=10)


def fit(module: pl.LightningModule, callbacks: list[pl.Callback], strategy: str, ckpt: Path | None = None) -> Any:
    fitted = started_by(strategy, callbacks)
    fitted.fit(module, loader(), ckpt_path=ckpt)
    return fitted


def seen(fitted: pl.Trainer, owner: MaskOwner) -> dict[str, Any]:
    checkpoint: dict[str, Any] = {}
    owner.on_save_checkpoint(fitted, fitted.lightning_module, checkpoint)
    weights = {name: p.detach().clone() for name, p in fitted.lightning_module.named_parameters()}
    return {"masks": dict(owner.masks), "counts": owner.masks.counts, "weights": weights, **checkpoint}


def fit_twice(name: str, first: str, second: str, between: str = "") -> dict[str, Any]:
    """Two fits of one module with one callback; maybe with a validation between them."""
    owner = next(m for m in METHODS if m.name == name).build(0.8)
    module = Validated()
    found = {"first": seen(fit(module, [owner], first), owner)}
    if between:
        started_by(between, [owner]).validate(module, loader(), verbose=False)
    found["second"] = seen(fit(module, [owner], second), owner)
    return found


def measure(strategy: str) -> dict[str, Any]:
    """What monitors have to say after a fit."""
    owner = next(m for m in METHODS if m.name == "rigl").build(0.8)
    flops = TrainingFlops()
    hessian = HessianSpectrum(probe_batch=16, at_steps=[10], method=LanczosSpectrum(steps=3))
    fit(TinyModule(), [owner, flops, hessian], strategy)
    eigenvalues = hessian.spectrum.eigenvalues if hessian.spectrum else None
    return {"flops": flops.flops, "total": flops.total, "dense": flops.dense, "eigenvalues": eigenvalues}


def rigl() -> MaskOwner:
    return next(m for m in METHODS if m.name == "rigl").build(0.8)


def refusal(owner: MaskOwner, module: pl.LightningModule, first: str, second: str) -> dict[str, Any]:
    """What a second fit says when of the first one little or nothing but the weights came back."""
    fit(module, [owner], first)
    weights = {name: p.detach().clone() for name, p in module.named_parameters()}
    message = ""
    try:
        fit(module, [owner], second)
    except Exception as error:
        message = str(error)
    same = all(torch.equal(module.get_parameter(name), weight) for name, weight in weights.items())
    return {"message": message, "same": same, "sparsity": owner.masks.sparsity}


def from_a_checkpoint(out: Path, refused: MaskOwner) -> tuple[list[Any], list[Any]]:
    """Two fits that go on after a refusal, and those they are to equal."""
    owner, module = rigl(), TinyModule()
    saved = fit(module, [owner], "auto")
    saved.save_checkpoint(out / "saved.ckpt")
    expected = [seen(saved, owner), seen(fit(module, [owner], "auto"), owner)]
    module = TinyModule()
    return [seen(fit(module, [refused], "auto", ckpt), refused) for ckpt in (out / "saved.ckpt", None)], expected


# which strategy fits first, which method, which fits second, which validates between the two
FITS = {
    ("ddp_notebook", "rigl"): ("ddp_notebook", "ddp_notebook"),
    ("ddp_notebook", "groups"): ("auto", ""),
    ("ddp_fork", "top-kast"): ("auto", ""),
    ("ddp_fork", "srigl"): ("auto", ""),
    ("ddp_spawn", "rigl"): ("auto", ""),
    ("same", "rigl"): ("auto", ""),
}


def main(out: Path) -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    folder = out / "temporary"
    folder.mkdir()
    tempfile.tempdir = str(folder)
    found: dict[Any, Any] = {key: fit_twice(key[1], key[0], *others) for key, others in FITS.items()}
    found["left"] = [str(path) for path in folder.rglob("*") if path.is_file()]
    refused = rigl()
    found["refused"] = {
        "far": refusal(refused, TinyModule(), "far", "auto"),
        "full": refusal(rigl(), TinyModule(), "full", "ddp_fork"),
        "late": refusal(rigl(), Late(), "ddp_fork", "auto"),
    }
    found["resumed"] = from_a_checkpoint(out, refused)
    found["monitors"] = {strategy: measure(strategy) for strategy in ("ddp_notebook", "auto")}
    found["expected"] = {name: fit_twice(name, "auto", "auto") for name in dict.fromkeys(name for _, name in FITS)}
    found["ddp", "rigl"] = fit_twice("rigl", "ddp", "ddp")  # in this process
    torch.save(found, out / "found.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
