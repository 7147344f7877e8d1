"""LotteryStage: one of several fits that follow each other, which can be killed at any moment and goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from ..either_lightning import Checkpoint, pl
from ..files.safe_files import read_checkpoint
from ..files.whole_checkpoints import save_checkpoint
from ..observer import callbacks_of
from ..settings import rewritten

MakeTrainer = Callable[[list[pl.Callback], Path], pl.Trainer]


class LotteryStage(Checkpoint):
    """A callback that saves a fit on its way and at its end, and tells its checkpoints from those of other fits.

    Lightning calls it after all other callbacks, so their state is complete.

    Args:
        folder: where ``last.ckpt``, while the fit goes on, and ``end.ckpt``, once it is done, are kept.
        identity: a text that names the fit and its settings; a checkpoint of another is refused.
        save_every: optimizer steps between two saves.
    """

    def __init__(self, folder: Path, identity: str, save_every: int) -> None:
        self.folder = folder
        self.identity = identity
        self.save_every = save_every
        self.end = folder / "end.ckpt"
        self.last = folder / "last.ckpt"
        self._saved = 0
        self._learning_rates: list[list[float]] = []

    @property
    def state_key(self) -> str:
        """The key of its state in a checkpoint: a word that no other callback is likely to have."""
        return "LotteryStage"

    def fit(
        self,
        module: pl.LightningModule,
        make_data: Callable[[], Any],
        make_trainer: MakeTrainer,
        callbacks: Sequence[pl.Callback],
        *,
        seed: int,
        start: Path | None = None,
    ) -> None:
        """Fit unless that is done, from where it was interrupted; a fresh one from the checkpoint ``start``.

        Raises:
            ValueError: a checkpoint is damaged or of another fit, or ``make_trainer`` gives a Trainer without the
                callbacks it was given, or a used one.
            RuntimeError: the fit ended without its product.
        """
        if self.finished:
            return
        resumed = None
        if self.last.is_file():
            start, resumed = self.last, self.read(self.last)["global_step"]
        self.folder.mkdir(parents=True, exist_ok=True)
        trainer: Any = make_trainer([*callbacks, self], self.folder)  # of either Lightning, or something else
        if not isinstance(trainer, pl.Trainer):
            library = type(trainer).__module__.partition(".trainer")[0]
            raise ValueError(
                f"make_trainer gave a {library} Trainer, but with both installed a lottery runs in one of "
                f"{pl.__name__}: take the Trainer and the module from there"
            )
        missing = [c for c in (*callbacks, self) if not any(c is given for given in callbacks_of(trainer))]
        if missing or trainer.global_step:
            what = f"without {type(missing[0]).__name__}" if missing else f"that is at step {trainer.global_step}"
            raise ValueError(
                f"make_trainer gave a Trainer {what}: make a new one each time, with all the callbacks it is given"
            )
        pl.seed_everything(seed, workers=True, verbose=False)
        data = make_data()  # may draw random numbers, too
        trainer.fit(module, data, ckpt_path=start, weights_only=True)
        if trainer.global_step == resumed and not self.end.is_file():
            # the fit was killed after its last step, and Lightning calls no hooks when there is nothing left to do
            save_checkpoint(trainer, self.end)
        if not self.finished:
            raise RuntimeError(f"the fit ended, but {str(self.end)!r} was not written: it did not train to its end")

    @property
    def finished(self) -> bool:
        """Whether the fit is done: its last checkpoint is there.

        Raises:
            ValueError: it is damaged or of another fit.
        """
        return self.end.is_file() and bool(self.read(self.end))

    def read(self, path: Path) -> dict[str, Any]:
        """Read a checkpoint of this fit.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged or of another fit.
        """
        checkpoint = read_checkpoint(path)
        theirs = checkpoint.get("callbacks", {}).get(self.state_key, {}).get("identity", "an unknown run")
        if rewritten(theirs) != rewritten(self.identity):
            raise ValueError(
                f"{str(path)!r} is of {theirs}, not of {self.identity}: use a folder of its own for "
                "each lottery, or delete what is there"
            )
        return checkpoint

    def learning_rates(self, checkpoint: Mapping[str, Any]) -> list[list[float]]:
        """Return the learning rates of the last step in a checkpoint of this fit, by optimizer and parameter group."""
        rates: list[list[float]] = checkpoint["callbacks"][self.state_key]["learning_rates"]
        return rates

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        self._learning_rates = [[float(group["lr"]) for group in o.param_groups] for o in trainer.optimizers]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if trainer.global_step // self.save_every > self._saved:
            self._saved = trainer.global_step // self.save_every
            save_checkpoint(trainer, self.last)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        save_checkpoint(trainer, self.end)
        if trainer.is_global_zero:
            self.last.unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        return {"identity": self.identity, "saved": self._saved, "learning_rates": self._learning_rates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict["saved"]
        self._learning_rates = state_dict["learning_rates"]
