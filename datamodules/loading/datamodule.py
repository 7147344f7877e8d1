"""SplitDataModule: what all data modules share, splits that are read once and the loaders of their batches."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, NoReturn, TypeVar, cast

import torch
from torch.utils.data import DataLoader, Dataset

from ..either_lightning import pl
from .arguments import check_at_least
from .ordering import EpochSampler, ResumableDataLoader, ResumableSampler, training_loader

Split = TypeVar("Split")


class SplitDataModule(pl.LightningDataModule, ABC, Generic[Split]):
    """A data set of the splits "train", "test" and perhaps "val", which is read once and served in whole batches.

    The training order depends on `seed` and epoch alone, is dealt out to the processes, and goes on after a resume
    where it stopped, given the same `batch_size` and `Trainer(limit_train_batches)`. The other splits have a fixed
    order. Predicting uses the test split.

    Args:
        batch_size: samples per batch and process; the last batch of an epoch may be smaller.
        num_workers: processes that prepare batches.
        seed: decides the training order and all else that is random.

    Raises:
        ValueError: an argument is out of range.
    """

    sampler: ClassVar[type[ResumableSampler]] = EpochSampler  # draws the training order

    def __init__(self, *, batch_size: int, num_workers: int, seed: int) -> None:
        super().__init__()
        check_at_least(1, batch_size=batch_size)
        check_at_least(0, num_workers=num_workers, seed=seed)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self._splits: dict[str, Split] = {}

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse to be of a Trainer of the other Lightning."""
        if name == "trainer" and value is not None and not isinstance(value, pl.Trainer):
            raise TypeError(self._of_another_lightning())
        super().__setattr__(name, value)

    def __iter__(self) -> NoReturn:
        """Refuse to be taken for a loader, as Trainers of the other Lightning do."""
        raise RuntimeError(self._of_another_lightning())

    def _of_another_lightning(self) -> str:
        return (
            f"{type(self).__name__} is a data module of {pl.__name__}, which this Trainer is not of: take both from "
            f"{pl.__name__}"
        )

    @abstractmethod
    def read(self) -> dict[str, Split]:
        """Return the splits "train" and "test", and "val" if there is one."""

    def setup(self, stage: str | None = None) -> None:
        """Read the splits, once."""
        if not self._splits:
            self._splits = self.read()

    def split(self, name: str) -> Split:
        """Return one split.

        Raises:
            ValueError: there is no such split.
        """
        self.setup()
        if name not in self._splits:
            raise ValueError(f"there are no {name} samples, only {sorted(self._splits)}; hold some out, or pass a list")
        return self._splits[name]

    def samples(self, name: str) -> Dataset[Any]:
        """Return what the loader of one split fetches, which is the split unless a subclass makes samples of it."""
        return cast("Dataset[Any]", self.split(name))

    def train_dataloader(self) -> ResumableDataLoader:
        """Return the shuffled training batches of this process."""
        return training_loader(self.samples("train"), self.sampler, self, seed=self.seed, **self._options())

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Return the validation batches in a fixed order, or [] if there are none."""
        self.setup()
        return self._in_order(self.samples("val")) if "val" in self._splits else []

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test batches in a fixed order."""
        return self._in_order(self.samples("test"))

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the test batches in a fixed order."""
        return self._in_order(self.samples("test"))

    def _in_order(self, samples: Dataset[Any]) -> DataLoader[Any]:
        return DataLoader(samples, **self._options())

    def _options(self) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            "collate_fn": _keep_batch,
            "generator": torch.Generator(),  # leaves the global random state alone
            "persistent_workers": self.num_workers > 0,
            "worker_init_fn": _use_one_thread,
        }


def _keep_batch(batch: Any) -> Any:
    return batch


def _use_one_thread(_worker: int) -> None:
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(0)  # workers share the cores, and a forked thread pool may hang
