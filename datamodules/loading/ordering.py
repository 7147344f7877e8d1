"""A training order that is shuffled, reproducible, and goes on after a resume where it stopped."""

from collections.abc import Callable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, cast

from torch.utils.data import DataLoader, Dataset, DistributedSampler

from ..either_lightning import pl

Key = int | tuple[int, int]
"""What a sample is fetched by: its index, or (epoch, index); an index alone means epoch 0."""


def epochs_and_indices(keys: Sequence[Key]) -> list[tuple[int, int]]:
    """Return the epoch and the index of each key.

    Example:
        >>> epochs_and_indices([5, (3, 7)])
        [(0, 5), (3, 7)]
    """
    return [key if isinstance(key, tuple) else (0, key) for key in keys]


class ResumableSampler(DistributedSampler[int]):
    """A sampler that yields the indices of one rank in an order that depends on seed and epoch alone.

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
        self._last_epoch = -1  # the epoch of the last iteration
        self._batches_before = -1  # how many batches were trained before that epoch
        self._restored = False
        self._epoch_offset = 0  # Lightning's count of epochs minus ours

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration, by Lightning's count of epochs."""
        super().set_epoch(epoch - self._epoch_offset)

    def __iter__(self) -> Iterator[int]:
        """Begin an epoch, or go on with the one that was interrupted."""
        batches_before, seen = self._progress()
        if self._restored:
            epoch = self._last_epoch if batches_before == self._batches_before else self._last_epoch + 1
            self._epoch_offset = self.epoch - epoch
            self.epoch = epoch
        indices = islice(super().__iter__(), seen if self._restored else 0, None)
        self._last_epoch, self._batches_before, self._restored = self.epoch, batches_before, False
        return indices

    def state_dict(self) -> dict[str, int]:
        """Return which epoch was begun last, and how many batches were trained before it."""
        return {"begun": self._last_epoch, "start": self._batches_before}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next iteration go on where the epoch in `state` was interrupted."""
        self._last_epoch, self._batches_before, self._restored = state["begun"], state["start"], True


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
        """Begin an epoch, or go on with the one that was interrupted."""
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
        """Iterate over the batches, reading the sampler only when the first one is asked for.

        Lightning calls `iter()` before it sets the epoch and the progress; worker processes would
        fetch their first batches right then.
        """
        yield from super().__iter__()

    def state_dict(self) -> dict[str, int]:
        """Return the state of the sampler; Lightning puts it into the checkpoint."""
        return self.sampler.state_dict() if isinstance(self.sampler, ResumableSampler) else {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the sampler; Lightning calls this when it resumes within an epoch."""
        if isinstance(self.sampler, ResumableSampler):
            self.sampler.load_state_dict(state)


def training_loader(
    data: Dataset[Any],
    sampler: type[ResumableSampler],
    module: pl.LightningDataModule,
    *,
    seed: int,
    batch_size: int,
    **options: Any,
) -> ResumableDataLoader:
    """Return the shuffled batches of this process, which go on after a resume where they stopped.

    Args:
        data: what to train on.
        sampler: draws the order.
        module: the data module whose Trainer says which process this is, and how far it has come.
        seed: decides the order.
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
