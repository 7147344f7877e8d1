"""GradientFlowMonitor: watch how much gradient reaches a sparse network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..either_lightning import pl
from ..observer import MaskObserver
from ..owner_of import mask_owner
from ..probes.probe import Probe
from ..sparsity import gradient_flow
from ..sparsity.analysis.curvature import LossClosure
from ..sparsity.rules.criteria import BatchLoss
from ..sparsity_report import log_metrics


class GradientFlowMonitor(MaskObserver):
    """Log L2 norms of the gradients that a step already has, without a second backward pass.

    ``grad_flow/total`` is the norm of the whole dense gradient, ``grad_flow/active`` of what moves the
    network (unmasked entries, biases and norms included), ``grad_flow/inactive`` of what the masks hide.
    Without a sparse method in the Trainer all of it is active. Gradients are those of the training loss,
    reduced over ranks and before clipping. With several optimizers the keys start with
    ``grad_flow/optimizer0/`` and so on. Measurements that are not finite numbers are counted in
    ``grad_flow/not_finite``.

    With a probe, the norm of the active gradient on a fixed batch is measured too: ``grad_flow/probe`` every
    ``every_n_steps``, and at each mask update ``grad_flow/before_update``, ``grad_flow/after_update`` and
    their difference ``grad_flow/delta``. This costs a forward and a backward pass on a copy of the module,
    so that it changes nothing of the run.

    Args:
        every_n_steps: optimizer steps between two measurements, from the first step on.
        per_layer: log ``grad_flow/<total|active|inactive>/<parameter>`` too.
        probe_batch: a batch in the form the module's ``training_step`` takes, or a number of samples to
            take from the head of the training data set.
        probe_loss: ``(module, batch) -> loss``; the default is ``module.training_step(batch, 0)``.

    Raises:
        ValueError: ``every_n_steps`` or a number of samples is below 1; at the start of training, when
            ``probe_batch`` is a number but the training data is not one DataLoader, or a module with manual
            optimization is to be probed without ``probe_loss``.
        RuntimeError: the probe cannot run a copy of the module by itself: give ``probe_loss``.

    Reference:
        Evci et al. 2022, section 3. Their curves are ``grad_flow/probe`` on 1,000 training samples, and the
        difference at updates is their "gradient norm change".
    """

    def __init__(
        self,
        *,
        every_n_steps: int = 50,
        per_layer: bool = False,
        probe_batch: Any = None,
        probe_loss: BatchLoss | None = None,
    ) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps is {every_n_steps}; it counts optimizer steps, 1 or more")
        self.every_n_steps = every_n_steps
        self.per_layer = per_layer
        self._probe = None if probe_batch is None else Probe(probe_batch, probe_loss)
        self._steps: dict[int, int] = {}  # steps seen, by optimizer
        self._not_finite = 0
        self._before = 0.0
        self._state_key = self._generate_state_key(every_n_steps=every_n_steps, per_layer=per_layer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0:
            self._steps, self._not_finite = {}, 0
        if self._probe is not None:
            self._probe.start(trainer, pl_module)

    # The owner of the masks, if there is one, calls on_dense_gradients before it masks them.
    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if mask_owner(trainer) is None:
            self.on_dense_gradients(trainer, pl_module, optimizer, {})

    def on_dense_gradients(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer, masks: Mapping[str, Tensor]
    ) -> None:
        index = trainer.optimizers.index(optimizer)
        step = self._steps.get(index, 0)
        self._steps[index] = step + 1
        if step % self.every_n_steps:
            return
        members = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        gradients = {
            name: parameter.grad
            for name, parameter in pl_module.named_parameters()
            if parameter.grad is not None and id(parameter) in members
        }
        flows = gradient_flow(gradients, masks)
        prefix = "grad_flow/" if len(trainer.optimizers) == 1 else f"grad_flow/optimizer{index}/"
        values = {
            f"{prefix}{part}/{name}".rstrip("/"): getattr(flow, part)
            for name, flow in flows.items()
            for part in ("total", "active", "inactive")
            if self.per_layer or not name
        }
        if not math.isfinite(flows[""].total):
            self._not_finite += 1
            values[f"{prefix}not_finite"] = float(self._not_finite)
        if self._probe is not None:
            values[f"{prefix}probe"] = self._probe.measure(trainer, pl_module, _active_norm(masks))
        log_metrics(trainer, values)

    def on_before_mask_update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, masks: Mapping[str, Tensor]
    ) -> None:
        if self._probe is not None:
            self._before = self._probe.measure(trainer, pl_module, _active_norm(masks))

    def on_after_mask_update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, masks: Mapping[str, Tensor]
    ) -> None:
        if self._probe is not None:
            after = self._probe.measure(trainer, pl_module, _active_norm(masks))
            values = {"before_update": self._before, "after_update": after, "delta": after - self._before}
            log_metrics(trainer, {f"grad_flow/{name}": value for name, value in values.items()})

    @property
    def state_key(self) -> str:
        return self._state_key  # Lightning asks at every hook of every step

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "not_finite": self._not_finite}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._steps = dict(state_dict["steps"])
        self._not_finite = state_dict.get("not_finite", 0)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._probe is not None:
            self._probe.stop()


def _active_norm(masks: Mapping[str, Tensor]) -> Callable[[LossClosure, Mapping[str, nn.Parameter]], float]:
    """Return a measurement of the norm of the active gradient."""

    def norm(loss: LossClosure, parameters: Mapping[str, nn.Parameter]) -> float:
        gradients = torch.autograd.grad(loss(), list(parameters.values()), allow_unused=True)
        flows = gradient_flow(
            {name: grad for name, grad in zip(parameters, gradients, strict=True) if grad is not None}, masks
        )
        return flows[""].active

    return norm
