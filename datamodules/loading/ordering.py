"""A training order that is shuffled, reproducible, and goes on after a resume where it stopped."""

from collections.abc import Callable, Iterator, Sized
from itertools import islice
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class ResumableSampler(DistributedSampler[int]):
    """Yields the indices of one rank in an order that depends on seed and epoch alone.

    The epoch's permutation of all samples, drawn from `seed * 2**20 + epoch`, is dealt out to the
    ranks in turn; it wraps around, so that all ranks get equally many. The first iteration after
    `load_state_dict` leaves out the samples that the interrupted epoch has already seen.

    Lightning calls `set_epoch` with its own count of epochs. After a resume under `max_steps` that
    count is off: an epoch cut short counted as a whole one, or an empty one follows. A restored
    sampler therefore goes by the epoch that it began last, and keeps the difference.

    Args:
        dataset: what is sampled; only its length is used.
        seed: from 0 to 2**43 - 1.
        progress: tells how many batches were trained before the current epoch, and how many
            samples of it this rank has consumed; asked when an iteration starts.
        num_replicas: number of ranks.
        rank: this rank, from 0 to `num_replicas - 1`.

    Raises:
        ValueError: `seed` or `rank` is out of range.

    Example:
        >>> sampler = ResumableSampler(range(5), seed=0, progress=lambda: (0, 3))
        >>> order = list(sampler)
        >>> sampler.load_state_dict(sampler.state_dict())
        >>> list(sampler) == order[3:], list(sampler) == order, len(sampler)
        (True, True, 5)
    """

    def __init__(
        self,
        dataset: Sized,
        *,
        seed: int,
        progress: Callable[[], tuple[int, int]],
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        if not 0 <= seed < 2**43:
            raise ValueError(f"seed is {seed}; pass one from 0 to 2**43 - 1.")
        # the base class shuffles with its seed plus the epoch
        super().__init__(cast(Dataset[int], dataset), num_replicas, rank, seed=seed * 2**20)
        self._progress = progress
        self._begun = self._start = -1  # epoch of the last iteration, batches trained before it
        self._restored = False
        self._ahead = 0  # Lightning's count of epochs minus ours

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next iteration, by Lightning's count of epochs."""
        super().set_epoch(epoch - self._ahead)

    def __iter__(self) -> Iterator[int]:
        """Begins an epoch, or goes on with the one that was interrupted."""
        start, seen = self._progress()
        if self._restored:
            epoch = self._begun if start == self._start else self._begun + 1
            self._ahead = self.epoch - epoch
            self.epoch = epoch
        indices = islice(super().__iter__(), seen if self._restored else 0, None)
        self._begun, self._start, self._restored = self.epoch, start, False
        return indices

    def state_dict(self) -> dict[str, int]:
        """Returns which epoch was begun last, and how many batches were trained before it."""
        return {"begun": self._begun, "start": self._start}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Makes the next iteration go on where the epoch in `state` was interrupted."""
        self._begun, self._start, self._restored = state["begun"], state["start"], True


class EpochSampler(ResumableSampler):
    """A `ResumableSampler` of (epoch, index), for data sets that vary from epoch to epoch.

    The epoch travels with the index, so that worker processes, also persistent ones, need not be told.

    Example:
        >>> sampler = EpochSampler(range(2), seed=0, progress=lambda: (0, 0))
        >>> sampler.set_epoch(3)
        >>> sorted(sampler)
        [(3, 0), (3, 1)]
    """

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]  # the base class yields int
        """Begins an epoch, or goes on with the one that was interrupted."""
        indices = super().__iter__()  # may correct self.epoch
        epoch = self.epoch
        return ((epoch, index) for index in indices)


class ResumableDataLoader(DataLoader[Any]):
    """A `DataLoader` that Lightning can resume in the middle of an epoch.

    It passes the state of its `ResumableSampler` to and from the checkpoint. With any other
    sampler, such as the one of `Trainer(overfit_batches=...)`, it has no state, and a resumed
    epoch starts at its first batch.

    Example:
        >>> sampler = ResumableSampler(range(4), seed=0, progress=lambda: (0, 2))
        >>> loader = ResumableDataLoader(range(4), batch_size=2, sampler=sampler)
        >>> loader.load_state_dict(loader.state_dict())
        >>> len(loader), len(list(loader)), len(list(loader))
        (2, 1, 2)
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Iterates over the batches, reading the sampler only when the first one is asked for.

        Lightning calls `iter()` before it sets the epoch and the progress; worker processes would
        fetch their first batches right then.
        """
        yield from super().__iter__()

    def state_dict(self) -> dict[str, int]:
        """Returns the state of the sampler; Lightning puts it into the checkpoint."""
        return self.sampler.state_dict() if isinstance(self.sampler, ResumableSampler) else {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restores the sampler; Lightning calls this when it resumes within an epoch."""
        if isinstance(self.sampler, ResumableSampler):
            self.sampler.load_state_dict(state)


def whole_batches(batch_size: int, num_workers: int) -> dict[str, Any]:
    """Returns the arguments of a loader of data that is fetched in whole batches."""
    return {
        "batch_size": batch_size,
        "num_workers": num_workers,
        "collate_fn": _identity,
        "generator": torch.Generator(),  # leaves the global random state alone
    }


def _identity(batch: Any) -> Any:
    return batch


def training_loader(
    data: Dataset[Any],
    sampler: type[ResumableSampler],
    module: pl.LightningDataModule,
    *,
    seed: int,
    batch_size: int,
    **options: Any,
) -> ResumableDataLoader:
    """Returns the shuffled batches of this process, which go on after a resume where they stopped.

    Args:
        data: what to train on.
        sampler: how its order is drawn.
        module: whose Trainer says which process this is, and how far it has come.
        seed: of the order.
        batch_size: samples per batch and process.
        options: other arguments of `ResumableDataLoader`.
    """

    def progress() -> tuple[int, int]:
        if module.trainer is None:
            return 0, 0
        done = module.trainer.fit_loop.epoch_loop.batch_progress
        batches = done.current.ready
        return done.total.completed - batches, batches * batch_size

    world, rank = (module.trainer.world_size, module.trainer.global_rank) if module.trainer else (1, 0)
    order = sampler(cast(Sized, data), seed=seed, progress=progress, num_replicas=world, rank=rank)
    return ResumableDataLoader(data, sampler=order, batch_size=batch_size, **options)
