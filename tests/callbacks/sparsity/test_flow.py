import math

import pytest
import torch

from callbacks.sparsity import gradient_flow
from callbacks.sparsity.analysis.flow import GradientFlow


def test_norms_of_parts_and_of_the_whole() -> None:
    gradients = {"w": torch.tensor([[3.0, 4.0], [0.0, 12.0]]), "b": torch.tensor([2.0])}
    masks = {"w": torch.tensor([[True, True], [False, False]])}
    flow = gradient_flow(gradients, masks)
    assert flow["w"] == GradientFlow(13.0, 5.0, 12.0)
    assert flow["b"] == GradientFlow(2.0, 2.0, 0.0)
    assert flow[""].total == pytest.approx(math.sqrt(173))
    assert flow[""].active == pytest.approx(math.sqrt(29))
    assert flow[""].inactive == pytest.approx(12.0)


def test_half_precision_does_not_overflow() -> None:
    flow = gradient_flow({"w": torch.full((1000,), 300.0, dtype=torch.float16)}, {})
    assert flow[""].total == pytest.approx(300 * math.sqrt(1000), rel=1e-3)


def test_without_gradients_all_is_zero() -> None:
    assert gradient_flow({}, {}) == {"": GradientFlow(0.0, 0.0, 0.0)}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_is_not_finite_stays_on_its_side_of_the_mask(dtype: torch.dtype) -> None:
    gradients = {
        "hidden": torch.tensor([3.0, torch.nan], dtype=dtype),
        "shown": torch.tensor([torch.nan, 4.0], dtype=dtype),
        "dense": torch.ones(4),  # beside those of another dtype
        "empty": torch.ones(0, dtype=dtype),
    }
    flow = gradient_flow(gradients, {name: torch.tensor([True, False]) for name in ("hidden", "shown")})
    assert (flow["hidden"].active, flow["shown"].inactive) == (3.0, 4.0)
    assert (flow["dense"], flow["empty"]) == (GradientFlow(2.0, 2.0, 0.0), GradientFlow(0.0, 0.0, 0.0))
    assert all(math.isnan(flow[name].total) for name in ("hidden", "shown", ""))
    assert math.isnan(flow["shown"].active)
    assert math.isnan(flow["hidden"].inactive)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_infinity_complex_and_sparse_gradients() -> None:
    masks = {"w": torch.tensor([True, False])}
    assert gradient_flow({"w": torch.tensor([torch.inf, 4.0])}, masks)["w"] == GradientFlow(math.inf, math.inf, 4.0)
    assert gradient_flow({"c": torch.tensor([3.0 + 4.0j])}, {})[""].total == 5.0
    sparse = torch.sparse_coo_tensor(torch.tensor([[0, 0]]), torch.tensor([1.0, 2.0]), (3,))
    assert gradient_flow({"e": sparse}, {})[""].total == 3.0  # entries of one index are added
