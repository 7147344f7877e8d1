"""The training order by itself: shuffled, split over ranks, resumable."""

import pytest
import torch
from torch.utils.data import DistributedSampler

from datamodules.loading.ordering import EpochSampler, ResumableDataLoader, ResumableSampler


def sampler(size=10, seed=0, progress=lambda: (0, 0), **kwargs):
    return ResumableSampler(range(size), seed=seed, progress=progress, **kwargs)


def test_order_is_the_documented_permutation():
    order = sampler(100, seed=3)
    order.set_epoch(7)
    generator = torch.Generator().manual_seed(3 * 2**20 + 7)
    assert list(order) == torch.randperm(100, generator=generator).tolist()
    assert isinstance(order, DistributedSampler)  # so that Lightning does not put in its own


@pytest.mark.parametrize(("size", "ranks"), [(12, 1), (12, 3), (13, 3), (14, 3), (2, 5)])
def test_ranks_partition_the_epoch(size, ranks):
    parts = [sampler(size, num_replicas=ranks, rank=rank) for rank in range(ranks)]
    for part in parts:
        part.set_epoch(2)
    dealt = [list(part) for part in parts]
    assert {len(indices) for indices in dealt} == {len(part) for part in parts}
    whole = sampler(size)
    whole.set_epoch(2)
    order = list(whole)
    in_turn = [indices[i] for i in range(len(parts[0])) for indices in dealt]
    assert in_turn == (order * ranks)[: len(in_turn)]
    assert len(in_turn) - size < ranks


def test_only_the_first_iteration_after_a_restore_skips():
    order = sampler(progress=lambda: (0, 4))
    whole = list(order)
    assert list(order) == whole
    order.load_state_dict(order.state_dict())
    assert list(order) == whole[4:]
    assert list(order) == whole
    assert len(order) == 10


def test_restored_ranks_skip_their_own_samples():
    ranks = [sampler(progress=lambda: (0, 2), num_replicas=2, rank=rank) for rank in range(2)]
    for rank in ranks:
        whole = list(rank)
        rank.load_state_dict(rank.state_dict())
        assert list(rank) == whole[2:]


@pytest.mark.parametrize(
    ("start", "seen", "counted", "epoch"),
    [
        (12, 3, 2, 2),  # within the epoch
        (12, 0, 2, 2),  # in its first batch
        (18, 0, 3, 3),  # at its end
        (12, 3, 3, 2),  # Lightning counted the epoch cut short
        (18, 0, 4, 3),  # ... or an empty one
        (18, 0, 2, 3),  # ... or not yet the one that ended
    ],
)
def test_restored_order_goes_by_the_epoch_begun_last(start, seen, counted, epoch):
    order = sampler(progress=lambda: (start, seen))
    order.load_state_dict({"begun": 2, "start": 12})
    order.set_epoch(counted)
    reference = sampler()
    for ahead, skip in (0, seen), (1, 0):
        order.set_epoch(counted + ahead)
        reference.set_epoch(epoch + ahead)
        assert list(order) == list(reference)[skip:]
    assert order.state_dict() == {"begun": epoch + 1, "start": start}


@pytest.mark.parametrize("seed", [-1, 2**43])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=f"seed is {seed}; pass"):
        sampler(seed=seed)


def test_largest_seed():
    order = sampler(seed=2**43 - 1)
    order.set_epoch(2**20 - 1)
    assert sorted(order) == list(range(10))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_loader_reads_the_sampler_when_the_first_batch_is_asked_for(num_workers):
    order = sampler()
    loader = ResumableDataLoader(range(10), 10, sampler=order, num_workers=num_workers)
    batches = iter(loader)
    order.set_epoch(5)
    assert next(batches).tolist() == list(order)


def test_loader_passes_the_state_on():
    loader = ResumableDataLoader(range(10), 2, sampler=sampler(progress=lambda: (0, 4)))
    list(loader)
    assert loader.state_dict() == {"begun": 0, "start": 0}
    other = ResumableDataLoader(range(10), 2, sampler=sampler(progress=lambda: (0, 4)))
    other.load_state_dict(loader.state_dict())
    assert torch.cat(list(other)).tolist() == torch.cat(list(loader)).tolist()[4:]
    assert len(other) == 5


def test_loader_with_another_sampler_has_no_state():
    loader = ResumableDataLoader(range(10), 2)
    assert loader.state_dict() == {}
    loader.load_state_dict({"begun": 0, "start": 0})
    assert len(list(loader)) == 5


def test_epochs_travel_with_the_indices():
    order, plain = EpochSampler(range(10), seed=3, progress=lambda: (0, 0)), sampler(seed=3)
    for epoch in 0, 5:
        order.set_epoch(epoch), plain.set_epoch(epoch)
        assert list(order) == [(epoch, index) for index in plain]
    first = iter(order)
    order.set_epoch(6)
    assert next(first)[0] == 5


def test_a_restored_epoch_travels_with_the_indices():
    order = EpochSampler(range(10), seed=0, progress=lambda: (12, 3))
    order.load_state_dict({"begun": 2, "start": 12})
    order.set_epoch(3)  # Lightning counted the epoch cut short
    assert [epoch for epoch, _ in order] == [2] * 7
