"""The highest scores of layers of any size, layout and type, exactly; ties go to the first."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ranking import reference_top_k
from torch import Tensor

from callbacks.sparsity import generator_for, top_k
from callbacks.sparsity.rules import top_k as selection
from callbacks.sparsity.rules.top_k import top_k_together


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Iterator[None]:
    """Let layers of more than 64 weights be counted digit by digit, in several pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_PIECE", 64)
        yield


def test_top_k_refuses_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="k is 3, but there are 2"):
        top_k(torch.zeros(4), 3, torch.tensor([True, True, False, False]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", ["signed", "heavy-tailed", "ties"])
def test_large_layers_agree_with_the_slow_reference(dtype: torch.dtype, kind: str) -> None:
    generator, size = generator_for(1), 2**10
    score = torch.randn(size, generator=generator, dtype=torch.float64)
    score = {"signed": score, "heavy-tailed": score**9 * 1e-12, "ties": score.round()}[kind].to(dtype)
    among = torch.rand(size, generator=generator) < 0.7
    for k in (1, 100, size // 2):
        expected = reference_top_k(score.double().numpy(), k, among.numpy())
        assert np.array_equal(top_k(score, k, among).numpy(), expected)


def test_entries_outside_are_never_chosen_and_nan_is_named() -> None:
    score = torch.tensor([-torch.inf, -torch.inf, 1.0])
    assert top_k(score, 2, torch.tensor([False, True, True])).tolist() == [False, True, True]
    with pytest.raises(ValueError, match="a score is NaN"):
        top_k(torch.tensor([0.0, torch.nan]), 1, torch.tensor([True, True]))


LAYOUTS = {
    "contiguous": lambda tensor: tensor,
    "channels-last": lambda tensor: tensor.to(memory_format=torch.channels_last),
    "every-other": lambda tensor: tensor.repeat_interleave(2, dim=0)[::2],
}


@given(
    seed=st.integers(0, 2**32),
    side=st.integers(1, 12),
    levels=st.sampled_from([1, 5, 10**6]),  # few make many ties
    density=st.floats(0, 1),
    share=st.floats(0, 1),
    layouts=st.tuples(st.sampled_from(sorted(LAYOUTS)), st.sampled_from(sorted(LAYOUTS))),
)
def test_top_k_agrees_with_a_slow_reference_in_any_layout(seed, side, levels, density, share, layouts) -> None:
    generator = generator_for(seed)
    shape = (side, side, 3, 3)
    score = torch.randint(-levels, levels + 1, shape, generator=generator).float()
    score[torch.rand(shape, generator=generator) < 0.1] = -torch.inf
    among = torch.rand(shape, generator=generator) < density
    k = round(share * int(among.sum()))
    found = top_k(LAYOUTS[layouts[0]](score), k, LAYOUTS[layouts[1]](among))
    expected = reference_top_k(score.flatten().numpy(), k, among.flatten().numpy())
    assert np.array_equal(found.flatten().numpy(), expected)


@given(place=st.integers(0, 2**10 - 1), k=st.integers(1, 2**9))
def test_a_nan_in_a_large_layer_is_found_wherever_it_is_and_ignored_outside(place: int, k: int) -> None:
    score = torch.arange(2.0**10)
    score[place] = torch.nan
    everywhere = torch.ones(2**10, dtype=torch.bool)
    with pytest.raises(ValueError, match="a score is NaN"):
        top_k(score, k, everywhere)
    everywhere[place] = False
    assert top_k(score, k, everywhere).nonzero().flatten().tolist() == [
        i for i in range(2**10 - k - (place >= 2**10 - k), 2**10) if i != place
    ]


SPECIAL = [-torch.inf, torch.inf, torch.nan, -torch.nan, -0.0, 1e-45, -1e-45]


@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 500), min_size=1, max_size=3),
    levels=st.sampled_from([1, 5, 10**6]),
    density=st.floats(0, 1),
    share=st.floats(0, 1),
    special=st.sampled_from(SPECIAL),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
)
def test_layers_together_are_one_layer_and_digits_find_what_a_gpu_does(
    seed, sizes, levels, density, share, special, dtype
) -> None:
    generator, size = generator_for(seed), sum(sizes)
    score = torch.randint(-levels, levels + 1, (size,), generator=generator).to(dtype)
    score[torch.rand(size, generator=generator) < 1 / size] = special
    among = torch.rand(size, generator=generator) < density
    k = max(1, round(share * size))  # also more than there are
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_kth_by_digits", selection._kth_largest)
        expected = outcome([score], k, [among])
    assert outcome(score.split(sizes), k, among.split(sizes)) == outcome([score], k, [among]) == expected


def outcome(scores: list[Tensor], k: int, among: list[Tensor]) -> object:
    """Return the entries that are chosen, or why none are."""
    try:
        return torch.cat(top_k_together(scores, k, among)).nonzero().flatten().tolist()
    except ValueError as error:
        return str(error)


def test_large_whole_numbers_keep_their_order() -> None:
    score = torch.tensor([2**24, 2**24 + 1])
    assert top_k(score, 1, torch.tensor([True, True])).tolist() == [False, True]
