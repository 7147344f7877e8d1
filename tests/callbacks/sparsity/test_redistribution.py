from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from callbacks.sparsity import drop_and_grow
from callbacks.sparsity.rules.redistribution import apportion, redistribute

BY_HAND = [
    (6, [1, 2, 3], [9, 9, 9], [1, 2, 3]),
    (7, [1, 2, 3], [9, 9, 9], [1, 2, 4]),  # 1.17, 2.33, 3.5: the one left goes to the largest remainder
    (2, [1, 1, 1], [9, 9, 9], [1, 1, 0]),  # ties to the earlier
    (6, [1, 2, 3], [9, 9, 1], [2, 3, 1]),  # 5 left for 1 : 2 are 1.67, 3.33
    (6, [1, 2, 3], [9, 2, 1], [3, 2, 1]),  # ... of which the second takes 2
    (5, [0, 1, 0], [9, 2, 9], [2, 2, 1]),  # share 0 takes what is left, in equal parts
    (5, [0, 0, 0], [9, 9, 0], [3, 2, 0]),
    (9, [0, 1, 0], [2, 5, 2], [2, 5, 2]),  # all full
    (0, [1, 0, 2], [0, 0, 0], [0, 0, 0]),
]


@pytest.mark.parametrize(("total", "shares", "room", "expected"), BY_HAND)
def test_division_by_hand(total: int, shares: list[float], room: list[int], expected: list[int]) -> None:
    names = "abc"
    divided = apportion(total, dict(zip(names, shares, strict=True)), dict(zip(names, room, strict=True)))
    assert list(divided.items()) == list(zip(names, expected, strict=True))


parts = st.lists(st.tuples(st.one_of(st.just(0.0), st.floats(1e-6, 1e3)), st.integers(0, 1000)), min_size=1, max_size=7)


@given(parts, st.floats(0, 1))
def test_the_whole_is_divided_as_water_fills_basins(parts: list[tuple[float, int]], level: float) -> None:
    shares, room = ({str(i): part[j] for i, part in enumerate(parts)} for j in (0, 1))
    total = int(level * sum(room.values()))
    divided = apportion(total, shares, room)
    assert sum(divided.values()) == total
    assert all(0 <= divided[name] <= room[name] for name in room)
    thirsty = sum(room[name] for name in room if shares[name])
    for name, ideal in slow(min(total, thirsty), shares, room).items():
        if shares[name]:
            assert abs(divided[name] - ideal) < 1 + 1e-6
    if total < thirsty:
        assert not any(divided[name] for name in room if not shares[name])


def slow(total: int, shares: dict[str, float], room: dict[str, int]) -> dict[str, float]:
    """Raise the water until it is enough: each holds min(room, level * share)."""
    low, high = 0.0, 1e12
    for _ in range(200):
        level = (low + high) / 2
        held = sum(min(room[name], level * share) for name, share in shares.items())
        low, high = (level, high) if held < total else (low, level)
    return {name: min(room[name], high * share) for name, share in shares.items()}


@pytest.mark.parametrize("share", [-1.0, float("nan"), float("inf")])
def test_shares_that_are_none(share: float) -> None:
    with pytest.raises(ValueError, match="the share of 'b' is .*finite and not negative"):
        apportion(1, {"a": 1.0, "b": share}, {"a": 2, "b": 2})


@pytest.mark.parametrize("total", [-1, 5])
def test_a_total_without_room(total: int) -> None:
    with pytest.raises(ValueError, match=f"total is {total}, but there is room for 0 to 4"):
        apportion(total, {"a": 1.0, "b": 1.0}, {"a": 2, "b": 2})


@st.composite
def networks(draw):
    """Masks, drop and grow scores, numbers to drop and shares of a few layers; few values, many ties."""
    layers = {}
    for name in "abcd"[: draw(st.integers(1, 4))]:
        size = draw(st.integers(1, 12))
        mask = draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(any))
        scores = [draw(st.lists(st.integers(0, 4), min_size=size, max_size=size)) for _ in range(2)]
        dropped = draw(st.integers(0, sum(mask) - 1))
        layers[name] = (mask, *scores, dropped, draw(st.sampled_from([0.0, 0.5, 1.0, 3.7])))
    return [{name: layer[i] for name, layer in layers.items()} for i in range(5)]


@given(networks())
def test_redistribution_agrees_with_a_slow_reference(network) -> None:
    masks, drop, grow, dropped, shares = network
    tensors = [{name: torch.tensor(row) for name, row in rows.items()} for rows in (masks, drop, grow)]
    new = redistribute(*tensors, dropped, shares)
    assert sum(int(mask.sum()) for mask in new.values()) == sum(map(sum, masks.values()))
    kept = {
        name: best(drop[name], [i for i, active in enumerate(mask) if active], sum(mask) - dropped[name])
        for name, mask in masks.items()
    }
    room = {name: len(mask) - len(kept[name]) for name, mask in masks.items()}
    grown = apportion(sum(dropped.values()), shares, room)
    for name, mask in new.items():
        others = [i for i in range(len(mask)) if i not in kept[name]]
        assert set(np.flatnonzero(mask)) == kept[name] | best(grow[name], others, grown[name])
        assert mask.any(), "no layer is emptied"


def best(score: list[int], among: list[int], k: int) -> set[int]:
    return set(sorted(among, key=lambda i: (-score[i], i))[:k])


def test_a_single_layer_is_updated_as_by_rigl() -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(50, generator=generator) < 0.4
    drop, grow = torch.rand(50, generator=generator), torch.rand(50, generator=generator)
    [new] = redistribute({"a": mask}, {"a": drop}, {"a": grow}, {"a": 6}, {"a": 0.3}).values()
    assert torch.equal(new, drop_and_grow(mask, drop, grow, 6))


def test_an_empty_layer_stays_so_or_grows_and_a_full_one_takes_no_more() -> None:
    masks = {"full": torch.ones(3, dtype=torch.bool), "empty": torch.zeros(3, dtype=torch.bool)}
    scores = {name: torch.tensor([1.0, 2.0, 3.0]) for name in masks}
    new = redistribute(masks, scores, scores, {"full": 2, "empty": 0}, {"full": 0.0, "empty": 1.0})
    assert {name: mask.tolist() for name, mask in new.items()} == {
        "full": [False, False, True],
        "empty": [False, True, True],
    }
    new = redistribute(masks, scores, scores, {"full": 2, "empty": 0}, {"full": 1.0, "empty": 0.0})
    assert all(torch.equal(new[name], masks[name]) for name in masks)


def test_dropping_all_of_a_layer_is_refused() -> None:
    mask = {"a": torch.tensor([True, True, False])}
    with pytest.raises(ValueError, match="dropping 2 weights of 'a' leaves it without a weight"):
        redistribute(mask, {"a": torch.ones(3)}, {"a": torch.ones(3)}, {"a": 2}, {"a": 1.0})
