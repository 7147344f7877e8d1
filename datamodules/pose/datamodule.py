"""PoseDataModule: what the data sets of poses share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch.utils.data import DataLoader

from ..loading.arguments import check_at_least
from ..loading.datamodule import SplitDataModule
from .augmentation import PoseAugmentation
from .people import People
from .samples import Batch, PoseSamples
from .skeletons import LSP_SKELETON, Skeleton


class PoseDataModule(SplitDataModule[People]):
    """A data set of people, served as the batches described in `PoseSamples`.

    The training order and every augmentation depend on `seed`, epoch and person alone, and go on after a resume where
    they stopped. Predicting uses the test people.

    Args:
        input_size: px of a crop's side.
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
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        check_at_least(1, input_size=input_size)
        self.input_size, self.augmentation, self.also = input_size, augmentation, tuple(also)

    @abstractmethod
    def read(self) -> dict[str, People]:
        """Return the people of "train" and "test", and of "val" if there are any."""

    def setup(self, stage: str | None = None) -> None:
        """Read the annotations, once, and make sure that all images are there."""
        if not self._splits:
            splits = self.read()
            splits["train"] = splits["train"].concat([other.people("train") for other in self.also])
            self._splits = splits

    def people(self, split: str) -> People:
        """Return the people of "train", "val" or "test", in the order of `index` in their batches.

        Raises:
            ValueError: there are no such people.
        """
        return self.split(split)

    def samples(self, name: str) -> PoseSamples:
        """Return the crops of the people of one split."""
        augmentation = self.augmentation if name == "train" else None
        return PoseSamples(self.people(name), self.input_size, augmentation, self.seed)

    def ordered_dataloader(self, people: People) -> DataLoader[Batch]:
        """Return the batches of any people with these joints, each box as it is, in a fixed order."""
        return self._in_order(PoseSamples(people, self.input_size))
