"""The callback that makes a W&B run say by itself what happened."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import plotly.graph_objects as go  # type: ignore[import-untyped]
import pytorch_lightning as pl
import wandb
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor
from torch.optim import Optimizer

from callbacks import HessianSpectrum, MaskObserver
from callbacks.observer import callbacks_of
from callbacks.owner_of import mask_owner, masks_of
from callbacks.sparsity import Spectrum
from callbacks.sparsity.masks.sharding import is_sharded

from .. import charts
from ..run.tracking import WandbGuard
from .artifacts import log_checkpoints, log_masks, use_ticket
from .budget import TimeBudget
from .history import History
from .measurements import layer_churn, layer_flow, split
from .metrics import STEP, SUMMARIES

UNKNOWN_LENGTH = 1000  # optimizer steps between pictures of a run that has no end


class Dashboard(MaskObserver):
    """Fill the W&B run of a fit: what was run, what its curves mean, pictures of every layer, and the files it leaves.

    Does nothing without a :class:`WandbLogger` in the Trainer, and on other ranks than the first. The run's config gets
    ``study`` (the run's group), ``method``, ``seed`` and what it was started with; each documented key the optimizer
    step as its axis and a summary. ``charts/gradient_flow`` (layer by step), ``charts/mask_churn``,
    ``charts/mask_density``, ``charts/weights`` and ``charts/gradients`` (histograms of active and inactive entries) and
    ``charts/hessian``, of a :class:`HessianSpectrum` in the Trainer, are plotly figures; of sharded weights only
    churn and density are drawn. At the end masks, and the best and last checkpoint, become artifacts; a fit of a
    lottery is linked to its ticket.

    Measuring and drawing may take a share of the run's time and waits until that has grown to it; one more picture of
    each kind at the end of the fit is free. When W&B fails, the run goes on without it.

    Args:
        config: the plain, nested values that the run was made from.
        every_n_steps: optimizer steps between two measurements of the gradient flow, where time allows.
        pictures: the number of pictures of each kind over the run, where time allows.
        share: the share of the run's time that this may take, in [0, 1].
        clock: gives seconds.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> pl.Trainer(logger=WandbLogger(), callbacks=[RigL(0.9), Dashboard()])  # doctest: +SKIP
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        every_n_steps: int = 50,
        pictures: int = 20,
        share: float = 0.01,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("pictures", pictures)):
            if value < 1:
                raise ValueError(f"{name} is {value}; pass 1 or more")
        self.config = dict(config or {})
        self.every_n_steps = every_n_steps
        self.pictures = pictures
        self.budget = TimeBudget(share, clock)
        self._logger: WandbLogger | None = None
        self._guard = WandbGuard()
        self._flow, self._churn = History(every_n_steps), History()
        self._steps: dict[int, int] = {}  # the steps of each optimizer
        self._updates = 0
        self._old: Mapping[str, Tensor] = {}  # the masks before an update, while it runs
        self._interval, self._next = 1, 0  # optimizer steps between pictures, and the step of the next
        self._spectrum: Spectrum | None = None  # the last spectrum that was drawn

    # --- start ---------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._logger = None
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        if stage != "fit" or not loggers or not trainer.is_global_zero or loggers[0].experiment.disabled:
            return
        self._logger, self._guard = loggers[0], WandbGuard()
        self._guard.protect(self._logger)
        self._guard.attempt(self._describe, self._logger.experiment, trainer)

    def _describe(self, run: wandb.Run, trainer: pl.Trainer) -> None:
        owner = mask_owner(trainer)
        about = {
            "study": run.group or run.project,
            "method": run.job_type or (type(owner).__name__ if owner else "dense"),
            "seed": self.config.get("seed_everything", os.environ.get("PL_GLOBAL_SEED")),
        }
        run.config.update({**self.config, **about}, allow_val_change=True)  # type: ignore[no-untyped-call]
        for key, summary in SUMMARIES.items():
            run.define_metric(key, step_metric=STEP, summary=summary)
        use_ticket(run, trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        steps = trainer.estimated_stepping_batches
        self._interval = math.ceil(steps / self.pictures) if 0 < steps < math.inf else UNKNOWN_LENGTH
        self._next = trainer.global_step
        self._flow, self._churn, self._steps, self._updates = History(self.every_n_steps), History(), {}, 0
        self.budget = TimeBudget(self.budget.share, self.budget.clock)

    # --- measuring -----------------------------------------------------------------------------

    # The owner of the masks, if there is one, calls on_dense_gradients before it masks them.
    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if self._working and mask_owner(trainer) is None:
            self.on_dense_gradients(trainer, pl_module, optimizer, {})

    def on_dense_gradients(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer, masks: Mapping[str, Tensor]
    ) -> None:
        if not self._working:
            return
        index = trainer.optimizers.index(optimizer)
        count = self._steps.get(index, 0)
        self._steps[index] = count + 1
        flow = self._flow.due(count) and self.budget.affords("flow")
        draw = trainer.global_step >= self._next and self.budget.affords("pictures")
        if not (flow or draw):
            return
        gradients = _gradients(pl_module, optimizer)
        if flow and gradients:
            with self.budget.spend("flow"):
                self._flow.add(trainer.global_step, layer_flow(gradients, masks))
        if draw:
            with self.budget.spend("pictures"):
                self._draw(trainer, pl_module, gradients)
            self._next = trainer.global_step + self._interval

    def on_before_mask_update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, masks: Mapping[str, Tensor]
    ) -> None:
        self._old = masks

    def on_after_mask_update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, masks: Mapping[str, Tensor]
    ) -> None:
        if self._working and self._churn.due(self._updates) and self.budget.affords("churn"):
            with self.budget.spend("churn"):
                self._churn.add(trainer.global_step, layer_churn(self._old, masks))
        self._updates, self._old = self._updates + 1, {}

    # --- sending -------------------------------------------------------------------------------

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._working:
            self._draw(trainer, pl_module, {})

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._logger is None or not self._working:
            return
        run: wandb.Run = self._logger.experiment
        if owner := mask_owner(trainer):
            self._guard.attempt(log_masks, run, trainer, owner)
        self._guard.attempt(log_checkpoints, run, trainer)

    def _draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule, gradients: Mapping[str, Tensor]) -> None:
        masks = masks_of(trainer)
        figures: dict[str, go.Figure] = {}
        if self._flow.steps:
            figures["gradient_flow"] = charts.flow_heatmap(self._flow.names, self._flow.steps, self._flow.rows)
        if self._churn.steps:
            figures["mask_churn"] = charts.churn_heatmap(self._churn.names, self._churn.steps, self._churn.rows)
        if masks:
            figures["mask_density"] = charts.density_maps(masks)
        weights = {name: parameter.detach() for name, parameter in pl_module.named_parameters()}
        for what, tensors in (("weights", weights), ("gradients", gradients)):
            if tensors and not any(map(is_sharded, tensors.values())):
                figures[what] = charts.histograms(*split(tensors, masks), title=what.title())
        spectra = [c.spectrum for c in callbacks_of(trainer) if isinstance(c, HessianSpectrum) and c.spectrum]
        if spectra and spectra[0] is not self._spectrum:
            self._spectrum = spectra[0]
            figures["hessian"] = charts.spectrum(spectra[0].eigenvalues, spectra[0].shares)
        self._guard.attempt(self._send, trainer, figures)

    def _send(self, trainer: pl.Trainer, figures: Mapping[str, go.Figure]) -> None:
        if self._logger is not None:
            media = {f"charts/{name}": wandb.Plotly(figure) for name, figure in figures.items()}
            self._logger.log_metrics(media, step=trainer.global_step)  # type: ignore[arg-type]  # as its log_image does

    @property
    def _working(self) -> bool:
        return self._logger is not None and not self._guard.failed


def _gradients(module: pl.LightningModule, optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the gradients of an optimizer; none if they are sharded, since other ranks do not take part."""
    members = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    named = [(name, parameter.grad) for name, parameter in module.named_parameters() if id(parameter) in members]
    gradients = {name: gradient for name, gradient in named if gradient is not None}
    return {} if any(map(is_sharded, gradients.values())) else gradients
