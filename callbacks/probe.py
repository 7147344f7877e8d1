"""A fixed batch on which a run is measured without changing anything of it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from pytorch_lightning.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor, nn
from torch.utils.data import DataLoader

ProbeLoss = Callable[[pl.LightningModule, Any], Tensor]

T = TypeVar("T")


class Probe:
    """Measures a loss of a detached copy of the module: weights, norm statistics, gradients and random numbers stay.

    Args:
        batch: in the form the module's ``training_step`` takes, or a number of samples to take from the head
            of the training data set.
        loss: ``(module, batch) -> loss``; the default is ``module.training_step(batch, 0)``.

    Raises:
        ValueError: a number of samples is below 1.
    """

    def __init__(self, batch: Any, loss: ProbeLoss | None) -> None:
        if isinstance(batch, int) and batch < 1:
            raise ValueError(f"probe_batch is {batch}; as a number it counts samples, 1 or more")
        self.batch = batch
        self.loss = loss
        self._on_device: Any = None

    def start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Bring the batch to where the module computes.

        Raises:
            ValueError: ``batch`` is a number but the training data is not one DataLoader, or a module with
                manual optimization is to be measured without ``loss``.
        """
        if self.loss is None and not pl_module.automatic_optimization:
            raise ValueError("a probe of a module with manual optimization needs a probe_loss")
        with isolate_rng():
            batch = self.batch
            if isinstance(batch, int):
                batch = _first_samples(trainer.train_dataloader, batch)
            batch = trainer.precision_plugin.convert_input(batch)
            batch = pl_module._on_before_batch_transfer(batch)
            self._on_device = trainer.strategy.batch_to_device(batch)

    def measure(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        measurement: Callable[[Callable[[], Tensor], dict[str, nn.Parameter]], T],
        *,
        autocast: bool = True,
    ) -> T:
        """``measurement(loss, parameters)`` on a copy: its loss on the batch, and what of it is trained, by name.

        The loss is computed in the precision of the run; with ``autocast=False`` mixed precision is left out.

        Raises:
            RuntimeError: the copy cannot run by itself.
        """
        with isolate_rng(), torch.enable_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You are trying to `self.log")
            try:
                # Lightning detaches a copy from the Trainer: it logs nothing. What else leads to the Trainer, such as
                # an optimizer from the command line, which knows its parser, is not to copy it.
                replica = copy.deepcopy(pl_module, {id(trainer): trainer})
                for method in ("forward", "training_step"):  # torch.compile binds its own to the original
                    replica.__dict__.pop(method, None)

                def loss() -> Tensor:
                    full = nullcontext() if autocast else torch.autocast(replica.device.type, enabled=False)
                    with trainer.precision_plugin.train_step_context(), full:
                        return (self.loss or _training_loss)(replica, self._on_device)

                return measurement(loss, {name: p for name, p in replica.named_parameters() if p.requires_grad})
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, TypeError, AttributeError) as error:
                raise RuntimeError(
                    f"the probe could not run a detached copy of {type(pl_module).__name__} ({error}): give a "
                    "probe_loss that needs neither the Trainer nor what training_step keeps"
                ) from error

    def stop(self) -> None:
        """Let go of the batch."""
        self._on_device = None


def _training_loss(module: pl.LightningModule, batch: Any) -> Tensor:
    arguments = (batch, 0) if is_param_in_hook_signature(module.training_step, "batch_idx", min_args=2) else (batch,)
    output: Any = module.training_step(*arguments)
    loss: Tensor = output["loss"] if isinstance(output, Mapping) else output
    return loss


def _first_samples(loader: object, count: int) -> Any:
    """One batch of the first samples of the loader's data set, without touching the loader."""
    if not isinstance(loader, DataLoader):
        raise ValueError(
            f"probe_batch={count} takes samples from a DataLoader, but the training data is a "
            f"{type(loader).__name__}: give a batch instead"
        )
    head = DataLoader(loader.dataset, batch_size=count, collate_fn=loader.collate_fn, generator=torch.Generator())
    return next(iter(head))
