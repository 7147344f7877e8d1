"""Constant fan-in and N:M against slow references, and the order in which a neuron's inputs are read."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from callbacks.sparsity import generator_for, select
from callbacks.sparsity.rules.constant_fan_in import exchange_at_constant_fan_in
from callbacks.sparsity.rules.n_of_m import n_of_m
from callbacks.sparsity.rules.updates import drop_and_grow_per_row, top_per_row

# --- choosing row by row ------------------------------------------------------------------------


def best(score: Tensor, k: int, among: list[int]) -> list[int]:
    """The k best of these places, one at a time, the lower index first on ties."""
    return sorted(among, key=lambda place: (-float(score[place]), place))[:k]


@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 9)),
    levels=st.sampled_from([1, 3, 10**6]),  # few make many ties
    density=st.floats(0, 1),
)
def test_the_best_of_each_row_are_those_of_a_slow_reference(seed, shape, levels, density) -> None:
    generator = generator_for(seed)
    score = torch.randint(-levels, levels + 1, shape, generator=generator).float()
    score[torch.rand(shape, generator=generator) < 0.2] = -torch.inf
    among = torch.rand(shape, generator=generator) < density
    k = (torch.rand(shape[0], generator=generator) * (among.sum(1) + 1)).long()
    found = top_per_row(score, k, among)
    for row in range(shape[0]):
        expected = best(score[row], int(k[row]), among[row].nonzero().flatten().tolist())
        assert found[row].nonzero().flatten().tolist() == sorted(expected)


def test_impossible_choices_are_refused() -> None:
    score, among = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[True, True], [True, False]])
    with pytest.raises(ValueError, match="k is 2 in row 1, but there are 1 entries"):
        top_per_row(score, torch.tensor([2, 2]), among)
    with pytest.raises(ValueError, match="k is -1 in row 0"):
        top_per_row(score, torch.tensor([-1, 0]), among)
    score[0, 1] = torch.nan
    with pytest.raises(ValueError, match="a score is NaN"):
        top_per_row(score, torch.tensor([1, 1]), among)
    assert top_per_row(score, torch.tensor([0, 0]), among).sum() == 0


# --- constant fan-in ----------------------------------------------------------------------------


def reference(
    mask: Tensor, drop: Tensor, grow: Tensor, n: int, budget: int, gamma: float | None
) -> tuple[set[int], list[int]]:
    """SRigL's update of one layer, weight by weight: its active places, and its active neurons."""
    neurons, inputs = mask.shape
    active = mask.flatten().nonzero().flatten().tolist()
    kept = best(drop.flatten(), len(active) - n, active)
    stay = list(range(neurons))
    if gamma is not None:
        salient = set(kept) | set(best(grow.flatten(), n, list(range(mask.numel()))))
        counts = [sum(place // inputs == i for place in salient) for i in range(neurons)]
        whole = budget // neurons  # inputs of each neuron where none is ablated, however many are by now
        stay = [i for i in stay if counts[i] >= max(1, math.floor(gamma * whole))]
        least = max(1, budget // inputs)
        if len(stay) < least:
            stay = sorted(range(neurons), key=lambda i: (-counts[i], i))[:least]
    fan_in = min(budget // len(stay), inputs)
    places: set[int] = set()
    for i in stay:
        row = range(i * inputs, (i + 1) * inputs)
        held = best(drop.flatten(), fan_in, [place for place in row if place in kept])
        places |= {*held, *best(grow.flatten(), fan_in - len(held), [place for place in row if place not in held])}
    return places, stay


@given(
    seed=st.integers(0, 2**32),
    neurons=st.integers(1, 6),
    inputs=st.integers(1, 8),
    fan_in=st.integers(1, 8),
    ablated=st.integers(0, 5),
    spare=st.integers(0, 5),
    share=st.floats(0, 1),
    levels=st.sampled_from([1, 4, 10**6]),
    gamma=st.none() | st.floats(0, 1),
)
def test_updates_at_constant_fan_in_are_those_of_a_slow_reference(
    seed, neurons, inputs, fan_in, ablated, spare, share, levels, gamma
) -> None:
    generator = generator_for(seed)
    fan_in, ablated = min(fan_in, inputs), min(ablated, neurons - 1)
    k = torch.full((neurons,), fan_in)
    k[torch.randperm(neurons, generator=generator)[:ablated]] = 0
    everything = torch.ones(neurons, inputs, dtype=torch.bool)
    mask = top_per_row(torch.rand(neurons, inputs, generator=generator), k, everything)
    drop = torch.randint(0, levels + 1, mask.shape, generator=generator).float() * mask
    grow = torch.randint(0, levels + 1, mask.shape, generator=generator).float()
    budget = min(max(int(mask.sum()) + spare, neurons), mask.numel())
    n = math.floor(share * int(mask.sum()))
    found = exchange_at_constant_fan_in(mask, drop, grow, n, budget=budget, gamma=gamma)
    expected, stay = reference(mask, drop, grow, n, budget, gamma)
    assert set(found.flatten().nonzero().flatten().tolist()) == expected
    fan_ins = found.sum(1).tolist()
    assert {fan_ins[i] for i in stay} == {min(budget // len(stay), inputs)}, "all active neurons have equal fan-in"
    assert sum(fan_ins) == len(stay) * fan_ins[stay[0]]
    assert len(stay) >= max(1, budget // inputs)
    if gamma is None:
        assert len(stay) == neurons


def test_a_neuron_is_ablated_by_the_threshold_and_comes_back_by_its_gradients() -> None:
    mask = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0]]).bool()
    drop = torch.tensor([[9.0, 8, 7, 0, 0, 0], [6.0, 5, 1, 0, 0, 0], [3.0, 2, 4, 0, 0, 0]])
    grow = torch.zeros(3, 6)
    grow[0, 3:] = 1.0
    # 3 of 9 are dropped: the first neuron keeps 3, the second 2, the third 1; of gamma * 3 = 2.1 two must be salient
    updated = exchange_at_constant_fan_in(mask, drop, grow, 3, budget=10, gamma=0.7)
    assert updated.int().tolist() == [[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 0], [0] * 6]
    assert exchange_at_constant_fan_in(mask, drop, grow, 3, budget=10, gamma=0.6).any(1).all(), "floor(1.8) is 1"
    back = torch.zeros(3, 6)
    back[2, 3:] = 1.0
    again = exchange_at_constant_fan_in(updated, drop * updated + 0.5 * updated, back, 3, budget=10, gamma=0.6)
    assert again.sum(1).tolist() == [3, 3, 3]
    assert again[2].tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(288, 64),
        nn.Conv2d(32, 64, 3),
        nn.Conv2d(64, 64, 3, groups=2),
        nn.ConvTranspose2d(32, 64, 3),
        nn.ConvTranspose1d(192, 64, 3, groups=2),
    ],
)
def test_repeated_ablation_settles_and_does_not_run_away(layer: nn.Module) -> None:
    [weight] = select(nn.Sequential(layer)).values()
    shape, budget, generator = (weight.neurons, weight.inputs), weight.parameter.numel() // 10, generator_for(266)
    everything = torch.ones(shape, dtype=torch.bool)
    mask = top_per_row(torch.rand(shape, generator=generator), torch.full((64,), budget // 64), everything)
    sizes = []
    for _ in range(6):
        drop = torch.randn(shape, generator=generator).abs() * mask
        grow = torch.randn(shape, generator=generator).abs()
        n = math.floor(0.3 * int(mask.sum()))
        mask = exchange_at_constant_fan_in(mask, drop, grow, n, budget=budget, gamma=0.95)
        sizes.append((int(mask.any(1).sum()), int(mask.sum(1).max())))
    # with gamma taken of the current fan-in, which ablation raises: (41, 44), (14, 131), (6, 288) and no way back
    assert sizes == 6 * [(41, 44)]


def test_the_last_neuron_stays_however_little_of_it_is_salient() -> None:
    mask, nothing = torch.tensor([[True, False], [False, True], [False, False]]), torch.zeros(3, 2)
    updated = exchange_at_constant_fan_in(mask, nothing, nothing, 2, budget=3, gamma=1.0)
    assert updated.sum(1).tolist() == [2, 0, 0], "the first of equals, with as many inputs as there are"
    assert exchange_at_constant_fan_in(mask[:1], nothing[:1], nothing[:1], 1, budget=1, gamma=1.0).sum() == 1


# --- N:M ----------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), groups=st.integers(1, 12), m=st.integers(1, 6), share=st.floats(0, 1))
def test_n_of_m_keeps_the_best_of_every_group_at_the_start_and_at_updates(seed, groups, m, share) -> None:
    generator = generator_for(seed)
    n = 1 + seed % m
    score = torch.randint(0, 4, (2, groups * m), generator=generator).float()
    mask = n_of_m(score, n, m)
    for row in range(2):
        for first in range(0, groups * m, m):
            expected = best(score[row], n, list(range(first, first + m)))
            assert mask[row, first : first + m].nonzero().flatten().tolist() == sorted(i - first for i in expected)
    grow, exchanged = torch.rand(score.shape, generator=generator), math.floor(share * int(mask.sum()))
    parts = [tensor.view(-1, m) for tensor in (mask, score * mask, grow)]
    updated = drop_and_grow_per_row(*parts, exchanged, torch.full((2 * groups,), n))
    assert (updated.sum(1) == n).all()
    kept = best((score * mask).flatten(), n * 2 * groups - exchanged, mask.flatten().nonzero().flatten().tolist())
    for group in range(2 * groups):
        held = [place for place in kept if place // m == group]
        rest = [place for place in range(group * m, (group + 1) * m) if place not in held]
        expected = {*held, *best(grow.flatten(), n - len(held), rest)}
        assert {group * m + int(j) for j in updated[group].nonzero()} == expected


def test_the_groups_of_a_convolution_are_input_channels_at_one_tap() -> None:
    weight = torch.zeros(1, 4, 1, 2)
    weight[0, :, 0, 0] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    weight[0, :, 0, 1] = torch.tensor([10.0, 20.0, 30.0, 40.0])
    mask = n_of_m(weight, 2, 4)
    assert mask[0, :, 0, 0].tolist() == [True, True, False, False]
    assert mask[0, :, 0, 1].tolist() == [False, False, True, True]
    [layer] = select(nn.Sequential(nn.Conv2d(4, 1, (1, 2)))).values()
    assert layer.by_neuron(weight).tolist() == [[4.0, 3.0, 2.0, 1.0, 10.0, 20.0, 30.0, 40.0]]
    assert layer.by_neuron(weight).data_ptr() != weight.data_ptr()
    last = weight.to(memory_format=torch.channels_last)
    assert layer.by_neuron(last).data_ptr() == last.data_ptr(), "as it lies in memory"


@pytest.mark.parametrize(("n", "m"), [(5, 4), (-1, 4), (1, 3), (1, 0)])
def test_patterns_that_do_not_fit_are_refused(n: int, m: int) -> None:
    with pytest.raises(ValueError, match=f"n:m is {n}:{m}, but a neuron has 8 inputs"):
        n_of_m(torch.zeros(2, 8), n, m)


LAYERS = {
    "linear": nn.Linear(6, 4),
    "conv": nn.Conv2d(6, 4, 3),
    "grouped": nn.Conv2d(6, 4, 3, groups=2),
    "transposed": nn.ConvTranspose2d(6, 4, 3),
    "transposed-grouped": nn.ConvTranspose1d(6, 4, 3, groups=2),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=list(LAYERS))
def test_a_row_holds_what_one_output_sees(layer: nn.Module) -> None:
    weight = select(nn.Sequential(layer))["0.weight"]
    rows = weight.by_neuron(weight.parameter.detach())
    assert rows.shape == (weight.neurons, weight.inputs) == (4, weight.parameter.numel() // 4)
    assert torch.equal(weight.from_neurons(rows), weight.parameter)
    only = torch.zeros_like(rows)
    only[2] = rows[2]
    with torch.no_grad():
        weight.parameter.copy_(weight.from_neurons(only))
        layer.bias.zero_()
        shape = (1, 6) if isinstance(layer, nn.Linear) else (1, 6, *[5] * (layer.weight.dim() - 2))
        seen = layer(torch.ones(shape)).flatten(2).abs().sum(2) if len(shape) > 2 else layer(torch.ones(shape))
    assert (seen[0] != 0).tolist() == [False, False, True, False]
