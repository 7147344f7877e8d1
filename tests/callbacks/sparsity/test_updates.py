import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from callbacks.sparsity import Gradient, Magnitude, Random, Saliency, drop_and_grow, generator_for, top_k

# A hand-drawn layer of eight weights: five active, three not.
MASK = [1, 1, 0, 1, 0, 1, 0, 1]
DROP = [5, 1, 0, 4, 0, 2, 0, 3]
GROW = [0, 9, 7, 0, 8, 6, 5, 0]
UPDATES = [
    (0, [1, 1, 0, 1, 0, 1, 0, 1]),  # nothing moves
    (1, [1, 1, 0, 1, 0, 1, 0, 1]),  # 1 is dropped and, having the best grow score, grown again
    (2, [1, 1, 0, 1, 1, 0, 0, 1]),  # 1, 5 dropped; 1, 4 grown
    (3, [1, 1, 1, 1, 1, 0, 0, 0]),  # 1, 5, 7 dropped; 1, 4, 2 grown
    (5, [0, 1, 1, 0, 1, 1, 1, 0]),  # all dropped; the five best grown
]


@pytest.mark.parametrize(("n", "expected"), UPDATES)
def test_hand_drawn_updates(n: int, expected: list[int]) -> None:
    mask = torch.tensor(MASK, dtype=torch.bool)
    assert drop_and_grow(mask, torch.tensor(DROP), torch.tensor(GROW), n).int().tolist() == expected


@pytest.mark.parametrize("n", [-1, 6])
def test_impossible_numbers_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"n is {n}, but the mask has 5"):
        drop_and_grow(torch.tensor(MASK, dtype=torch.bool), torch.tensor(DROP), torch.tensor(GROW), n)


def test_top_k_refuses_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="k is 3, but there are 2"):
        top_k(torch.zeros(4), 3, torch.tensor([True, True, False, False]))


def reference_top_k(score: np.ndarray, k: int, among: np.ndarray) -> np.ndarray:
    """One at a time, highest first, lower index first on ties."""
    order = sorted(np.flatnonzero(among), key=lambda i: (-score[i], i))
    chosen = np.zeros(len(score), dtype=bool)
    chosen[order[:k]] = True
    return chosen


cases = st.integers(1, 30).flatmap(
    lambda size: st.tuples(
        st.lists(st.booleans(), min_size=size, max_size=size),
        st.lists(st.integers(0, 4), min_size=size, max_size=size),  # few values: many ties
        st.lists(st.integers(0, 4), min_size=size, max_size=size),
        st.floats(0, 1),
    )
)


@given(cases)
def test_updates_agree_with_a_slow_reference_and_keep_the_count(case) -> None:
    mask, drop, grow = np.array(case[0]), np.array(case[1]), np.array(case[2])
    n = int(mask.sum() * case[3])
    updated = drop_and_grow(torch.tensor(mask), torch.tensor(drop), torch.tensor(grow), n)
    kept = reference_top_k(drop, int(mask.sum()) - n, mask)
    expected = kept | reference_top_k(grow, n, ~kept)
    assert updated.numpy().tolist() == expected.tolist()
    assert int(updated.sum()) == mask.sum()


def test_rigl_grows_the_true_top_k_of_the_gradient() -> None:
    generator = generator_for(0)
    weight, grad = torch.randn(20, 30, generator=generator), torch.randn(20, 30, generator=generator)
    mask = torch.rand(20, 30, generator=generator) < 0.2
    weight = weight * mask
    new = drop_and_grow(mask, Magnitude()(weight, grad, generator), Gradient()(weight, grad, generator), 30)
    grown = new & ~mask
    left = ~new & ~mask
    assert grown.any()
    assert grad[grown].abs().min() >= grad[left].abs().max()
    assert weight[mask & ~new].abs().max() <= weight[mask & new].abs().quantile(0.5)


def test_scores() -> None:
    weight, grad = torch.tensor([-2.0, 0.5]), torch.tensor([0.5, -4.0])
    generator = generator_for(0)
    assert Magnitude()(weight, grad, generator).tolist() == [2.0, 0.5]
    assert Gradient()(weight, grad, generator).tolist() == [0.5, 4.0]
    assert Saliency()(weight, grad, generator).tolist() == [1.0, 2.0]
    one = Random()(weight, grad, generator_for(0, 1, 2))
    assert torch.equal(one, Random()(weight, grad, generator_for(0, 1, 2)))
    assert ((one >= 0) & (one < 1)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", ["signed", "heavy-tailed", "ties"])
@pytest.mark.parametrize("size", [2**13, 2**18])
def test_large_layers_agree_with_the_slow_reference(dtype: torch.dtype, kind: str, size: int) -> None:
    generator = generator_for(1)
    score = torch.randn(size, generator=generator, dtype=torch.float64)
    score = {"signed": score, "heavy-tailed": score**9 * 1e-12, "ties": score.round()}[kind].to(dtype)
    among = torch.rand(size, generator=generator) < 0.7
    for k in (1, 1000, size // 2):
        expected = reference_top_k(score.double().numpy(), k, among.numpy())
        assert np.array_equal(top_k(score, k, among).numpy(), expected)


def test_entries_outside_are_never_chosen_and_nan_is_named() -> None:
    score = torch.tensor([-torch.inf, -torch.inf, 1.0])
    assert top_k(score, 2, torch.tensor([False, True, True])).tolist() == [False, True, True]
    with pytest.raises(ValueError, match="a score is NaN"):
        top_k(torch.tensor([0.0, torch.nan]), 1, torch.tensor([True, True]))


def test_large_whole_numbers_keep_their_order() -> None:
    score = torch.tensor([2**24, 2**24 + 1])
    assert top_k(score, 1, torch.tensor([True, True])).tolist() == [False, True]
