"""RewindPoint: a callback that keeps the state of a fit after so many optimizer steps, to go back to later."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ..compatibility import check_whole
from ..either_lightning import pl
from ..files.whole_checkpoints import save_checkpoint


class RewindPoint(pl.Callback):
    """Save the whole state of the fit after exactly ``step`` optimizer steps.

    The file is a Lightning checkpoint: weights and norm statistics in ``"state_dict"``, optimizers in
    ``"optimizer_states"``, schedulers in ``"lr_schedulers"``, and what ``fit(ckpt_path=...)`` needs to go on
    from there. Step 0 is before the first step, with masks drawn and weights initialised. The weights are those of
    that moment, so with :class:`GradualPruning` they are dense until it begins.

    The file is written by rank 0, to a temporary name first, so that it is whole or not there. A fit that
    resumes from a checkpoint checks that the file is still the one it wrote. A file of an earlier run is replaced
    when the step is reached.

    Args:
        step: optimizer steps as ``trainer.global_step`` counts them, 0 or more; with gradient accumulation fewer
            than batches, in manual optimization those of all optimizers.
        path: the file, on a local disk; its folder is made.

    Raises:
        ValueError: ``step`` is negative; the run ends before it; a batch steps past it; a fit resumes after it and
            has not kept it, or the file is missing or another one; weights are sharded over processes.
        RuntimeError: at the end of a fit that stopped before it.

    Example:
        >>> pl.Trainer(callbacks=[RewindPoint(500, path="runs/rewind.ckpt")])  # doctest: +SKIP
    """

    def __init__(self, step: int = 0, *, path: str | Path) -> None:
        if step < 0:
            raise ValueError(f"RewindPoint.step is {step}; it counts optimizer steps, 0 or more")
        self.step = step
        self.path = Path(path)
        self._kept: str | None = None  # the digest of the file, once it is written

    @property
    def state_key(self) -> str:
        """The key of its state in a checkpoint: one for each step, so that a Trainer can have several."""
        return f"RewindPoint(step={self.step})"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.global_step == 0:
            self._kept = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        check_whole(pl_module, "RewindPoint")
        problem = self._problem(trainer) if trainer.is_global_zero else ""
        problem = trainer.strategy.broadcast(problem)
        if problem:
            raise ValueError(problem)
        total = trainer.estimated_stepping_batches
        if self._kept is None and pl_module.automatic_optimization and 0 <= total < self.step:
            raise ValueError(f"RewindPoint.step is {self.step}, but the run ends after {total:g} optimizer steps")

    def _problem(self, trainer: pl.Trainer) -> str:
        """Return what is wrong with a fit that resumes after the step, or nothing."""
        if self._kept is None:
            if trainer.global_step <= self.step:
                return ""
            return (
                f"the fit goes on at step {trainer.global_step}, too late to keep the state after {self.step}, and its "
                f"checkpoint is not of a run with RewindPoint(step={self.step}): start anew, or choose a later step"
            )
        if not self.path.is_file():
            return (
                f"the state after step {self.step} was saved as {str(self.path)!r}, which is gone: put it back, or "
                "start anew"
            )
        if _digest(self.path) != self._kept:
            return (
                f"{str(self.path)!r} is not the state after step {self.step} that this run saved: another run wrote it "
                "since. Give each run a path of its own"
            )
        return ""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        self._keep_if_due(trainer)  # for step 0: by now all callbacks have started

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self._keep_if_due(trainer)
        if self._kept is None and trainer.global_step > self.step:
            raise ValueError(
                f"RewindPoint.step is {self.step}, but this batch went from below it to step {trainer.global_step}: "
                "choose a step that lies between two batches"
            )

    def _keep_if_due(self, trainer: pl.Trainer) -> None:
        if self._kept is None and trainer.global_step == self.step:
            save_checkpoint(trainer, self.path)
            self._kept = trainer.strategy.broadcast(_digest(self.path) if trainer.is_global_zero else "")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._kept is None:
            raise RuntimeError(
                f"the fit ended after {trainer.global_step} optimizer steps and never reached step {self.step} of "
                "RewindPoint: train longer, or choose an earlier step"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"digest": self._kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._kept = state_dict["digest"]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
