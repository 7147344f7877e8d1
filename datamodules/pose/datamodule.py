"""PoseDataModule: what the data sets of poses share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from ..files.photos import photo_batches
from ..loading.ordering import EpochSampler, ResumableDataLoader, training_loader
from .augmentation import PoseAugmentation
from .people import People
from .samples import Batch, PoseSamples
from .skeletons import LSP_SKELETON, Skeleton


class PoseDataModule(pl.LightningDataModule, ABC):
    """Serves the people of a data set as the batches described in `PoseSamples`.

    The training order and every augmentation depend on `seed`, epoch and person alone, whatever
    `num_workers` is, and go on after a resume where they stopped. Predicting uses the test people.

    Args:
        input_size: pixels of a crop's side.
        batch_size: samples per batch and process; the last batch of an epoch may be smaller.
        num_workers: processes that prepare batches.
        augmentation: how training crops vary; None for not at all.
        also: further data sets whose training people are added to this one's, with this one's joints.
            Nothing else of them is used.
        seed: decides orders, augmentations, and which people are held out where the data set does not say.

    Raises:
        ValueError: an argument is out of range.
    """

    skeleton: ClassVar[Skeleton] = LSP_SKELETON  # the joints of its batches

    def __init__(
        self,
        *,
        input_size: int = 256,
        batch_size: int = 32,
        num_workers: int = 0,
        augmentation: PoseAugmentation | None = PoseAugmentation(),
        also: Sequence[PoseDataModule] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        least = {"input_size": 1, "batch_size": 1, "num_workers": 0, "seed": 0}
        for name, value in zip(least, (input_size, batch_size, num_workers, seed), strict=True):
            if value < least[name]:
                raise ValueError(f"{name} is {value}; pass {least[name]} or more.")
        self.input_size, self.batch_size, self.num_workers = input_size, batch_size, num_workers
        self.augmentation, self.also, self.seed = augmentation, tuple(also), seed
        self._splits: dict[str, People] = {}

    @abstractmethod
    def read(self) -> dict[str, People]:
        """Returns the people of "train" and "test", and of "val" if there are any."""

    def setup(self, stage: str | None = None) -> None:
        """Reads the annotations, once, and makes sure that all images are there."""
        if not self._splits:
            splits = self.read()
            splits["train"] = splits["train"].and_([other.people("train") for other in self.also])
            self._splits = splits

    def people(self, split: str) -> People:
        """Returns the people of "train", "val" or "test", in the order of `index` in their batches.

        Raises:
            ValueError: there are no such people.
        """
        self.setup()
        if split not in self._splits:
            raise ValueError(f"there are no {split} people, only {sorted(self._splits)}; hold some out, or pass a list")
        return self._splits[split]

    def train_dataloader(self) -> ResumableDataLoader:
        """Returns the shuffled, augmented batches of this process."""
        data = PoseSamples(self.people("train"), self.input_size, self.augmentation, self.seed)
        return training_loader(data, EpochSampler, self, seed=self.seed, **self._options())

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Returns the held-out batches in a fixed order, or [] when there are none."""
        self.setup()
        return self.ordered_dataloader(self.people("val")) if "val" in self._splits else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Returns the test batches in a fixed order."""
        return self.ordered_dataloader(self.people("test"))

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Returns the test batches in a fixed order."""
        return self.ordered_dataloader(self.people("test"))

    def ordered_dataloader(self, people: People) -> DataLoader[Batch]:
        """Returns the batches of any people with these joints, each box as it is, in a fixed order."""
        return DataLoader(PoseSamples(people, self.input_size), **self._options())

    def _options(self) -> dict[str, Any]:
        return photo_batches(self.batch_size, self.num_workers)
