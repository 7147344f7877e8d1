"""TrainingFlops: what a fit costs, counted while it trains."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..compatibility import check_whole
from ..either_lightning import extract_batch_size, pl
from ..owner import MaskOwner
from ..owner_of import mask_owner
from ..probes.probe import detached_copy, training_loss, undisturbed
from ..processes import Returning
from ..sparsity import Flops
from ..sparsity.analysis.flops import counting
from ..sparsity_report import log_metrics


class TrainingFlops(Returning, pl.Callback):
    """Count the floating-point operations of a fit, with whatever method in the Trainer, or dense.

    A batch costs a forward pass, as much again for the gradients of activations, and the gradients of weights:
    of the active ones, or of those that the method looks at, as RigL does of all at an update. So a pruning run pays
    for the weights it still has. The layers are counted in one training step on a copy of the module. What is done
    before the first step (SNIP's gradients) or without the layers (norms, losses, the optimizer) is not counted.

    Logs ``sparsity/train_flops``, the running total over all ranks, every ``Trainer(log_every_n_steps)`` steps.

    Attributes:
        flops: the operations of a sample, known after the first batch.
        total: the operations so far, in this fit and in those it goes on from.
        dense: the operations that the same samples would have cost the dense network.

    Args:
        flops: the operations of a sample, by the names of the module's parameters, for a module whose ``training_step``
            cannot run on a copy: ``Flops.of(module, example)`` counts its ``forward``.

    Raises:
        RuntimeError: at the first batch, when ``training_step`` cannot run on a copy.

    Reference:
        Evci et al. 2020 (RigL), appendix on FLOPs. There an update of RigL comes on top of the steps between two
        updates; here it takes the place of one.

    Example:
        >>> pl.Trainer(callbacks=[TrainingFlops(), SparseTraining(0.9)])  # doctest: +SKIP
    """

    def __init__(self, flops: Flops | None = None) -> None:
        self.flops = flops
        self.total, self.dense = 0.0, 0.0
        self._given = flops is not None
        self._logged = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._logged = -1
        if not self._given:
            check_whole(pl_module, "TrainingFlops() without flops=")
            self.flops = None  # to be counted for the module of this fit
        if trainer.global_step == 0:
            self.total, self.dense = 0.0, 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        size = extract_batch_size(batch)
        if self.flops is None:
            self.flops = _count(trainer, pl_module, batch, size)
        owner = mask_owner(trainer)
        samples = size * trainer.world_size
        self.total += samples * (step_flops(self.flops, owner) if owner else 3 * self.flops.dense)
        self.dense += samples * 3 * self.flops.dense

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning does not declare it
        if every and trainer.global_step % every == 0 and trainer.global_step != self._logged:
            self._log(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._log(trainer)

    def _log(self, trainer: pl.Trainer) -> None:
        self._logged = trainer.global_step
        log_metrics(trainer, {"sparsity/train_flops": self.total})

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total, "dense": self.dense}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.total, self.dense = state_dict["total"], state_dict["dense"]

    def results(self) -> dict[str, Any]:
        counted = None if self.flops is None else (dict(self.flops.products), dict(self.flops.outputs))
        return {**self.state_dict(), "flops": counted}

    def take_results(self, results: dict[str, Any], module: nn.Module) -> None:
        self.load_state_dict(results)
        self.flops = None if results["flops"] is None else Flops(*results["flops"])


def step_flops(flops: Flops, owner: MaskOwner) -> float:
    """Return the FLOPs of the coming training step on one sample, under the owner's masks."""
    counts = {name: count for part in owner.parts for name, count in part.gradient_counts().items()}
    gradients = {name: count / owner.masks[name].numel() for name, count in counts.items()}
    return 2 * flops.sparse(owner.masks.density) + flops.sparse(gradients)


def _count(trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, size: int) -> Flops:
    with undisturbed():
        try:
            detached = detached_copy(pl_module)
            with counting(detached) as counts, trainer.precision_plugin.train_step_context():
                training_loss(detached, batch)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError, AttributeError) as error:
            raise RuntimeError(
                f"TrainingFlops could not run training_step on a copy of {type(pl_module).__name__} ({error}): pass "
                "TrainingFlops(Flops.of(module, example))"
            ) from error
    products, outputs = ({name: count[which] / size for name, count in counts.items()} for which in (0, 1))
    return Flops(products, outputs)
