"""Probes: measurements of a copy of a module, on data of their own, so that nothing of the run changes."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset

from ..compatibility import check_whole
from ..either_lightning import is_param_in_hook_signature, isolate_rng, pl
from ..sparsity import generator_for
from ..sparsity.analysis.curvature import LossClosure
from ..sparsity.masks.replica import replica
from ..sparsity.rules.criteria import BatchLoss

T = TypeVar("T")


class Probe:
    """A measurement of the loss of a copy of the module: weights, norm statistics, gradients and random numbers stay.

    Args:
        batch: a batch in the form the module's ``training_step`` takes, or a number of samples to take from the head
            of the training data set.
        loss: ``(module, batch) -> loss``; the default is ``module.training_step(batch, 0)``.

    Raises:
        ValueError: a number of samples is below 1.
    """

    def __init__(self, batch: Any, loss: BatchLoss | None) -> None:
        if isinstance(batch, int) and batch < 1:
            raise ValueError(f"probe_batch is {batch}; as a number it counts samples, 1 or more")
        self.batch = batch
        self.loss = loss
        self._on_device: Any = None

    def start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Bring the batch to where the module computes.

        Raises:
            ValueError: ``batch`` is a number but the training data is not one DataLoader, or a module with
                manual optimization is to be measured without ``loss``, or its weights are sharded over processes.
        """
        check_whole(pl_module, "a probe")
        if self.loss is None and not pl_module.automatic_optimization:
            raise ValueError("a probe of a module with manual optimization needs a probe_loss")
        with undisturbed():
            batch = self.batch
            if isinstance(batch, int):
                batch = first_samples(trainer.train_dataloader, batch, "probe_batch")
            self._on_device = to_device(trainer, pl_module, batch)

    def measure(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        measurement: Callable[[LossClosure, dict[str, nn.Parameter]], T],
        *,
        autocast: bool = True,
    ) -> T:
        """Return ``measurement(loss, parameters)`` of a copy: its loss on the batch, and the trained parameters.

        The loss is computed in the precision of the run; with ``autocast=False`` mixed precision is left out.

        Raises:
            RuntimeError: the copy cannot run by itself.
        """
        with undisturbed():
            try:
                detached = detached_copy(pl_module)

                def loss() -> Tensor:
                    full = nullcontext() if autocast else torch.autocast(detached.device.type, enabled=False)
                    with trainer.precision_plugin.train_step_context(), full:
                        return (self.loss or training_loss)(detached, self._on_device)

                return measurement(loss, {name: p for name, p in detached.named_parameters() if p.requires_grad})
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


@contextmanager
def undisturbed() -> Iterator[None]:
    """Give back the random numbers that are drawn inside, with gradients on, and silence a copy that cannot log."""
    with isolate_rng(), torch.enable_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are trying to `self.log")
        yield


def detached_copy(pl_module: pl.LightningModule) -> pl.LightningModule:
    """Return a copy that knows no Trainer and logs nothing."""
    detached = replica(pl_module)  # Lightning leaves the Trainer out of copies of modules
    for method in ("forward", "training_step"):  # torch.compile binds these to the original module
        detached.__dict__.pop(method, None)
    return detached


def training_loss(module: pl.LightningModule, batch: Any) -> Tensor:
    """Return the loss that the module's ``training_step`` computes of a batch."""
    arguments = (batch, 0) if is_param_in_hook_signature(module.training_step, "batch_idx", min_args=2) else (batch,)
    output: Any = module.training_step(*arguments)
    loss: Tensor = output["loss"] if isinstance(output, Mapping) else output
    return loss


def to_device(trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any) -> Any:
    """Return a batch as the training step would get it."""
    batch = pl_module._on_before_batch_transfer(trainer.precision_plugin.convert_input(batch))
    return trainer.strategy.batch_to_device(batch)


def first_samples(loader: object, count: int, argument: str) -> Any:
    """Return one batch of the first samples of the loader's data set, without touching the loader.

    Raises:
        ValueError: the training data is not one DataLoader; ``argument`` names what asked for samples.
    """
    loader = _checked(loader, f"{argument}={count}")
    head = DataLoader(loader.dataset, batch_size=count, collate_fn=loader.collate_fn, generator=torch.Generator())
    return next(iter(head))


def random_batches(loader: object, count: int, argument: str, seed: int) -> list[Any]:
    """Return batches of random samples, drawn by ``seed`` alone and equal on all ranks, without touching the loader.

    Raises:
        ValueError: the training data is not one DataLoader of samples by index, or its batch size is unknown.
    """
    asked = f"{argument}={count}"
    loader = _checked(loader, asked)
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
    if isinstance(loader.dataset, IterableDataset) or not size:
        raise ValueError(f"{asked} takes random samples, but the training data is a stream: give a list of batches")
    available: int = len(loader.dataset)  # type: ignore[arg-type]  # a map-style data set has a length
    order = torch.randperm(available, generator=generator_for(seed, -2))[: count * size].tolist()
    random.seed(seed)  # for augmentations; the caller restores the state of all generators
    torch.manual_seed(seed)
    samples = Subset(loader.dataset, order)
    return list(DataLoader(samples, batch_size=size, collate_fn=loader.collate_fn, generator=torch.Generator()))


def _checked(loader: object, asked: str) -> DataLoader[Any]:
    if not isinstance(loader, DataLoader):
        raise ValueError(
            f"{asked} takes samples from a DataLoader, but the training data is a {type(loader).__name__}: give a "
            "batch instead"
        )
    return loader
