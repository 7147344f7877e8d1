import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ranking import reference_top_k

from callbacks.sparsity import (
    GradientScore,
    InvertedScore,
    MagnitudeScore,
    RandomScore,
    SaliencyScore,
    drop_and_grow,
    generator_for,
)
from callbacks.sparsity.rules.updates import prune_globally

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
    new = drop_and_grow(mask, MagnitudeScore()(weight, grad, generator), GradientScore()(weight, grad, generator), 30)
    grown = new & ~mask
    left = ~new & ~mask
    assert grown.any()
    assert grad[grown].abs().min() >= grad[left].abs().max()
    assert weight[mask & ~new].abs().max() <= weight[mask & new].abs().quantile(0.5)


def test_scores() -> None:
    weight, grad = torch.tensor([-2.0, 0.5]), torch.tensor([0.5, -4.0])
    generator = generator_for(0)
    assert MagnitudeScore()(weight, grad, generator).tolist() == [2.0, 0.5]
    assert GradientScore()(weight, grad, generator).tolist() == [0.5, 4.0]
    assert SaliencyScore()(weight, grad, generator).tolist() == [1.0, 2.0]
    assert InvertedScore(GradientScore())(weight, grad, generator).tolist() == [-0.5, -4.0]
    one = RandomScore()(weight, grad, generator_for(0, 1, 2))
    assert torch.equal(one, RandomScore()(weight, grad, generator_for(0, 1, 2)))
    assert ((one >= 0) & (one < 1)).all()


# --- pruning ------------------------------------------------------------------------------------

layers = st.lists(
    st.lists(st.tuples(st.booleans(), st.integers(-2, 2)), min_size=1, max_size=8), min_size=1, max_size=4
)


@given(layers, st.floats(0, 1), st.booleans())
def test_global_pruning_agrees_with_a_slow_reference(case, share: float, keep_layers: bool) -> None:
    masks = {str(i): torch.tensor([active for active, _ in layer]) for i, layer in enumerate(case)}
    scores = {str(i): torch.tensor([score for _, score in layer]) for i, layer in enumerate(case)}
    ranked = sorted(  # (layer, index), the best first
        ((i, j) for i, layer in enumerate(case) for j, (active, _) in enumerate(layer) if active),
        key=lambda place: (-case[place[0]][place[1]][1], *place),
    )
    best = [next(place for place in ranked if place[0] == i) for i in sorted({i for i, _ in ranked})]
    count = round(share * len(ranked))
    expected = set((best + [place for place in ranked if place not in best] if keep_layers else ranked)[:count])
    if {i for i, _ in expected} != {i for i, _ in ranked}:
        with pytest.raises(ValueError, match="too few for one entry" if keep_layers else "without a weight"):
            prune_globally(scores, masks, count, keep_layers=keep_layers)
        return
    kept = prune_globally(scores, masks, count, keep_layers=keep_layers)
    assert {(int(name), int(j)) for name, mask in kept.items() for j in mask.nonzero()} == expected


def test_global_pruning_names_the_layer_it_would_empty_and_keeps_shapes() -> None:
    scores = {"conv": torch.full((2, 1, 2, 2), 0.1), "fc": torch.arange(1.0, 7.0).view(2, 3)}
    masks = {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}
    with pytest.raises(ValueError, match="5 highest scores of all layers leaves 'conv' without a weight: prune less"):
        prune_globally(scores, masks, 5)
    kept = prune_globally(scores, masks, 5, keep_layers=True)
    assert kept["conv"].flatten().tolist() == [True] + 7 * [False]
    assert kept["fc"].tolist() == [[False, False, True], [True, True, True]]
