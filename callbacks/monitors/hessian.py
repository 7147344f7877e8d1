"""HessianSpectrum: watch the curvature of the loss, and how mask updates change it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from ..either_lightning import pl, rank_zero_warn
from ..files.safe_files import read_safely, write_whole
from ..observer import MaskObserver
from ..owner_of import mask_owner
from ..probes.probe import Probe
from ..processes import Returning
from ..settings import described
from ..sparsity import ExactSpectrum, Spectrum, SpectrumMethod
from ..sparsity.analysis.curvature import Progress
from ..sparsity.rules.criteria import BatchLoss
from ..sparsity_report import log_metrics


class HessianSpectrum(MaskObserver, Returning):
    """Measure the spectrum of the Hessian of the loss on a fixed batch, at chosen steps and around mask updates.

    Logs ``hessian/largest``, ``hessian/smallest`` (eigenvalues) and ``hessian/negative_share`` (of the number of
    eigenvalues), at mask updates ``hessian/before_update/...`` and ``hessian/after_update/...``; with
    ``active_only=False`` the keys start with ``hessian/dense/``. Measured on a copy of the module in train mode,
    without mixed precision, so that nothing of the run changes. With several optimizers steps are those of all
    together.

    Attributes:
        spectrum: the last one measured in this fit, if there is one.
        progress: called with how many second derivatives of how many are done while one is measured; nothing is
            unless it is set.

    Args:
        probe_batch: a batch in the form the module's ``training_step`` takes, or a number of samples to take
            from the head of the training data set.
        probe_loss: ``(module, batch) -> loss``; the default is ``module.training_step(batch, 0)``.
        at_steps: optimizer steps done when to measure, from 0 to the end of the run, both included.
        every_n_steps: measure at all multiples of this too.
        around_updates: a number of mask updates, counted from the first one, before and after which to
            measure; or the optimizer steps of such updates.
        active_only: restrict the Hessian to active weights, biases and norms; False: to nothing.
        method: ``ExactSpectrum()``, for some ten thousand active weights at most, or ``LanczosSpectrum()``.
        folder: where to write every spectrum, as ``step<8 digits>_<at_step|before_update|after_update>.pt``; see
            :func:`read_spectrum`. A file of an earlier run in the same folder is replaced.

    Raises:
        ValueError: an argument is out of range, or there is nothing to measure; at the start of training, when
            ``probe_batch`` is a number but the training data is not one DataLoader, or a module with manual
            optimization is to be probed without ``probe_loss``; when measuring, for a loss or Hessian that is not
            finite, or an exact Hessian that is too large.
        RuntimeError: the probe cannot run a copy of the module by itself: give ``probe_loss``.

    Reference:
        Evci et al. 2022, section 3 and released code: exact, 60,000 training samples, at steps 100, 200, ... 2,000,
        2,500, 3,000, ... and around mask updates, of the cross-entropy without weight decay. Differs: the loss is that
        of ``training_step``, with whatever it adds.

    Example:
        >>> monitor = HessianSpectrum(at_steps=[0, 1000], around_updates=20, folder="runs/hessian")
    """

    def __init__(
        self,
        *,
        probe_batch: Any = 1000,
        probe_loss: BatchLoss | None = None,
        at_steps: Sequence[int] = (),
        every_n_steps: int | None = None,
        around_updates: int | Sequence[int] = 0,
        active_only: bool = True,
        method: SpectrumMethod = ExactSpectrum(),
        folder: str | Path | None = None,
    ) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"every_n_steps is {every_n_steps}; it counts optimizer steps, 1 or more")
        counts = [around_updates] if isinstance(around_updates, int) else around_updates
        for name, values in (("at_steps", at_steps), ("around_updates", counts)):
            for value in values:
                if isinstance(value, bool) or value < 0:
                    raise ValueError(f"{name} holds {value!r}; it counts steps or updates, 0 or more")
        if not (at_steps or every_n_steps or around_updates):
            raise ValueError("there is nothing to measure: give at_steps, every_n_steps or around_updates")
        self.at_steps = frozenset(at_steps)
        self.every_n_steps = every_n_steps
        self.around_updates = around_updates
        self.active_only = active_only
        self.method = method
        self.spectrum: Spectrum | None = None
        self.progress: Progress | None = None
        self.folder = None if folder is None else Path(folder)
        self._probe = Probe(probe_batch, probe_loss)
        self._updates = 0
        self._last: tuple[int, Spectrum] | None = None  # step and result of the last measurement at a step
        measured = {
            "at_steps": sorted(self.at_steps),
            "every_n_steps": every_n_steps,
            "around_updates": around_updates,
            "active_only": active_only,
            "method": method,
        }
        self._state_key = type(self).__qualname__ + re.sub(r"\b(Exact|Lanczos)Spectrum\(", r"\1(", described(measured))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0:
            self._updates = 0
        self._last, self.spectrum = None, None
        self._probe.start(trainer, pl_module)

    # The owner of the masks, if there is one, calls on_dense_gradients, on_before_mask_update, on_after_mask_update.
    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if mask_owner(trainer) is None:
            self.on_dense_gradients(trainer, pl_module, optimizer, {})

    def on_dense_gradients(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer, masks: Mapping[str, Tensor]
    ) -> None:
        self._at_step(trainer, pl_module, masks)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        owner = mask_owner(trainer)
        self._at_step(trainer, pl_module, {} if owner is None else owner.masks)
        if never := sorted(step for step in self.at_steps if step > trainer.global_step):
            rank_zero_warn(f"at_steps holds {never}, but the run ended at step {trainer.global_step}")

    def _at_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, masks: Mapping[str, Tensor]) -> None:
        step = trainer.global_step
        if step in self.at_steps or (self.every_n_steps and step % self.every_n_steps == 0):
            self._last = (step, self._measure(trainer, pl_module, masks, "at_step"))

    def on_before_mask_update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, masks: Mapping[str, Tensor]
    ) -> None:
        if _is_due(self.around_updates, self._updates, trainer.global_step):
            step, spectrum = self._last or (-1, None)
            known = spectrum if step == trainer.global_step else None  # nothing has changed since then
            self._measure(trainer, pl_module, masks, "before_update", known)

    def on_after_mask_update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, masks: Mapping[str, Tensor]
    ) -> None:
        if _is_due(self.around_updates, self._updates, trainer.global_step):
            self._measure(trainer, pl_module, masks, "after_update")
        self._updates += 1
        self._last = None

    def _measure(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        masks: Mapping[str, Tensor],
        when: str,
        known: Spectrum | None = None,
    ) -> Spectrum:
        """Return the spectrum under these masks, which may be known already, once it is logged and written."""
        spectrum = known or self._probe.measure(
            trainer,
            pl_module,
            lambda loss, parameters: self.method(
                loss,
                parameters,
                {name: mask for name, mask in masks.items() if name in parameters} if self.active_only else None,
                progress=self.progress,
            ),
            autocast=False,
        )
        self.spectrum = spectrum
        prefix = "hessian/" if self.active_only else "hessian/dense/"
        if when != "at_step":
            prefix += f"{when}/"
        values = ("largest", "smallest", "negative_share")
        log_metrics(trainer, {prefix + value: getattr(spectrum, value) for value in values})
        if self.folder is not None and trainer.is_global_zero:
            write_spectrum(
                self.folder / f"step{trainer.global_step:08d}_{when}.pt", spectrum, trainer.global_step, when
            )
        return spectrum

    @property
    def state_key(self) -> str:
        """The key of its state in a checkpoint. Methods have their first names in it, so that old ones resume."""
        return self._state_key  # Lightning asks at every hook of every step

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self._updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._updates = int(state_dict["updates"])

    def results(self) -> dict[str, Any]:
        return {**self.state_dict(), "spectrum": None if self.spectrum is None else _content(self.spectrum)}

    def take_results(self, results: dict[str, Any], module: nn.Module) -> None:
        self.load_state_dict(results)
        self.spectrum = None if results["spectrum"] is None else Spectrum(**results["spectrum"])

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._probe.stop()
        self._last = None


def _is_due(around_updates: int | Sequence[int], updates: int, step: int) -> bool:
    """Return whether to measure around a mask update at ``step``, after so many other updates."""
    return updates < around_updates if isinstance(around_updates, int) else step in around_updates


def read_spectrum(path: str | Path) -> Spectrum:
    """Read a spectrum that :class:`HessianSpectrum` wrote; nothing in the file is executed.

    The file is what ``torch.save`` makes of a dictionary of ``eigenvalues``, ``shares``, ``resolution``, ``step``
    and ``when``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not one of HessianSpectrum, or is damaged.

    Example:
        >>> read_spectrum("runs/hessian/step00000100_after_update.pt").negative_share  # doctest: +SKIP
    """
    content = read_safely(path, "spectrum")
    try:
        return Spectrum(content["eigenvalues"], content["shares"], float(content["resolution"]))
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as a spectrum of HessianSpectrum: {error!r}") from error


def write_spectrum(path: Path, spectrum: Spectrum, step: int, when: str) -> None:
    write_whole({**_content(spectrum), "step": step, "when": when}, path)


def _content(spectrum: Spectrum) -> dict[str, Any]:
    """Return the arguments of a spectrum, as tensors and plain values."""
    return {name: getattr(spectrum, name) for name in ("eigenvalues", "shares", "resolution")}
