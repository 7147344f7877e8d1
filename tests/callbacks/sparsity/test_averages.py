from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from callbacks.sparsity.rules.averages import GradientAverages

rows = st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3)


@given(st.lists(rows, min_size=1, max_size=9))
def test_without_momentum_it_is_the_mean(gradients: list[list[float]]) -> None:
    averages = GradientAverages()
    for gradient in gradients:
        averages.add({"w": torch.tensor(gradient)})
    np.testing.assert_allclose(averages.values["w"], np.mean(gradients, axis=0), rtol=1e-4, atol=1e-4)


@given(st.lists(rows, min_size=1, max_size=9), st.floats(0, 0.99))
def test_with_momentum_it_forgets_exponentially(gradients: list[list[float]], momentum: float) -> None:
    averages, expected = GradientAverages(momentum), np.zeros(3)
    for gradient in gradients:
        averages.add({"w": torch.tensor(gradient)})
        expected = momentum * expected + (1 - momentum) * np.array(gradient)
    np.testing.assert_allclose(averages.values["w"], expected, rtol=1e-4, atol=1e-4)


def test_names_are_averaged_and_cleared_by_themselves() -> None:
    averages = GradientAverages()
    averages.add({"a": torch.tensor([2.0]), "b": torch.tensor([2.0])})
    averages.add({"a": torch.tensor([4.0])})
    averages.clear(["b", "unknown"])
    averages.add({"b": torch.tensor([8.0])})
    assert averages.values == {"a": torch.tensor([3.0]), "b": torch.tensor([8.0])}


def test_one_gradient_is_its_own_mean_and_stays_as_it_is() -> None:
    averages, gradient = GradientAverages(), torch.tensor([0.1, -3e-20, 7e20])
    averages.add({"w": gradient})
    assert torch.equal(averages.values["w"], gradient)
    averages.add({"w": torch.ones(3)})
    assert torch.equal(gradient, torch.tensor([0.1, -3e-20, 7e20]))


def test_half_precision_is_averaged_in_single() -> None:
    averages = GradientAverages()
    for _ in range(300):
        averages.add({"w": torch.tensor([1.0], dtype=torch.bfloat16)})
    averages.add({"w": torch.tensor([302.0], dtype=torch.bfloat16)})
    assert averages.values["w"].item() == pytest.approx(2.0, rel=1e-3)


def test_it_goes_on_bit_for_bit_from_its_state() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(5, generator=generator) for _ in range(6)]
    for momentum in (None, 0.9):
        whole, part, rest = (GradientAverages(momentum) for _ in range(3))
        for gradient in gradients[:3]:
            whole.add({"w": gradient})
            part.add({"w": gradient})
        rest.load_state_dict(part.state_dict(), {"w": torch.device("cpu")})
        for gradient in gradients[3:]:
            whole.add({"w": gradient})
            rest.add({"w": gradient})
        assert torch.equal(whole.values["w"], rest.values["w"])
        assert not torch.equal(part.values["w"], rest.values["w"]), "the state is a copy"


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_momentum_outside_its_range(momentum: float) -> None:
    with pytest.raises(ValueError, match=r"momentum is .*\[0, 1\)"):
        GradientAverages(momentum)
