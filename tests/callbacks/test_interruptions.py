"""A fit that is interrupted twice, anywhere, equals one that is not."""

from __future__ import annotations

import contextlib
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from fits import TinyModule, data, trainer
from logs import Memory
from torch.utils.data import DataLoader

from callbacks import RigL
from callbacks.sparsity import UpdateWindow
from datamodules.loading.ordering import ResumableSampler, training_loader

BATCHES, EPOCHS = 3, 3
LAST = BATCHES * EPOCHS


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return training_loader(data(BATCHES * 8 - 3), ResumableSampler, self, seed=0, batch_size=8)

    def val_dataloader(self):
        return DataLoader(data(8), batch_size=8)


class Module(TinyModule):
    """With a schedule that counts epochs, and a validation after each."""

    def validation_step(self, batch, batch_idx) -> None:
        self.log("val/loss", torch.nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]


class Interruption(Exception):  # noqa: N818  # no error
    """Ends a fit."""


class Interrupt(pl.Callback):
    """Saves when a batch is done, and ends the fit when the next one begins (odd steps), or when that is done.

    Not at once: Lightning logs a batch after this hook, so that its values would be lost.
    """

    def __init__(self, path: Path, step: int, *, before_validation: bool) -> None:
        self.path, self.step, self.before_validation = path, step, before_validation

    def on_validation_start(self, trainer: pl.Trainer, *_: object) -> None:
        if self.before_validation and trainer.global_step == self.step and not trainer.sanity_checking:
            raise Interruption

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == self.step and self.step % 2:
            raise Interruption

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
        elif trainer.global_step == self.step + 1:
            raise Interruption


class Hooks(pl.Callback):
    """Notes the ends of epochs and validations."""

    def __init__(self, seen: set[tuple[str, int, int]]) -> None:
        self.seen = seen

    def on_validation_end(self, trainer: pl.Trainer, *_: object) -> None:
        if not trainer.sanity_checking:
            self.seen.add(("validation", trainer.current_epoch, trainer.global_step))

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: object) -> None:
        self.seen.add(("epoch", trainer.current_epoch, trainer.global_step))


def run(folder: Path, interruptions: tuple[int, ...], *, before_validation: bool = False, **options: Any) -> list[Any]:
    """The last weights, the masks, what was logged and done; after an interruption what is logged anew counts."""
    rows: dict[int, dict[str, float]] = {}
    seen: set[tuple[str, int, int]] = set()
    for life, step in enumerate([*interruptions, None]):
        memory = Memory()
        owner, module = RigL(0.8, window=UpdateWindow(2, stop=1.0)), Module()
        path = folder / f"{life}.ckpt"
        kill = [] if step is None else [Interrupt(path, step, before_validation=before_validation)]
        settings = {"max_epochs": EPOCHS, "max_steps": -1, "log_every_n_steps": 1, "logger": memory, **options}
        fitted = trainer([owner, Hooks(seen), *kill], **settings)
        with contextlib.suppress(Interruption):
            fitted.fit(module, Data(), ckpt_path=folder / f"{life - 1}.ckpt" if life else None, weights_only=True)
        for at, row in memory.rows.items():
            rows[at] = {**rows.get(at, {}), **row}
    assert fitted.global_step == LAST
    return [{name: weight.tolist() for name, weight in module.state_dict().items()}, owner.masks.digest(), rows, seen]


@cache
def whole(**options: Any) -> list[Any]:
    return run(Path(), (), **options)


EVERYWHERE = [places for n in (1, 2) for places in combinations(range(1, LAST + 1), n)]
EPOCH_ENDS = [places for places in EVERYWHERE if any(step % BATCHES == 0 for step in places)]


@pytest.mark.parametrize("places", EVERYWHERE, ids=str)
def test_interruptions(tmp_path: Path, places: tuple[int, ...]) -> None:
    assert run(tmp_path, places) == whole()


@pytest.mark.parametrize("places", EPOCH_ENDS, ids=str)
def test_interruptions_between_the_last_batch_of_an_epoch_and_its_validation(
    tmp_path: Path, places: tuple[int, ...]
) -> None:
    assert run(tmp_path, places, before_validation=True) == whole()


@pytest.mark.parametrize("options", [{"limit_val_batches": 0}, {"check_val_every_n_epoch": 2}], ids=str)
@pytest.mark.parametrize("places", [(3,), (6,), (3, 4), (3, 6), (5, 6), (6, 7)], ids=str)
def test_interruptions_at_ends_of_epochs_without_validation(
    tmp_path: Path, places: tuple[int, ...], options: dict[str, Any]
) -> None:
    assert run(tmp_path, places, **options) == whole(**options)
