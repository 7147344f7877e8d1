import copy
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from experiments.analysis import Curve, barrier, loss_along_curve, loss_along_line, train_curve

UNITS = 16
ENDS_AND_MIDDLE = (0.0, 0.25, 0.5, 0.75, 1.0)


def rings(samples: int = 256) -> list[tuple[Tensor, Tensor]]:
    """Two classes: inside and outside of a circle."""
    inputs = torch.randn(samples, 2, generator=torch.Generator().manual_seed(0))
    label = (inputs.norm(dim=1) > 1.1).long()
    return list(zip(inputs.split(64), label.split(64), strict=True))


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, UNITS), nn.ReLU(), nn.Linear(UNITS, 2))


@pytest.fixture(scope="module")
def solution() -> dict[str, Tensor]:
    torch.manual_seed(0)
    network = perceptron()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(150):
        for inputs, label in rings():
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs), label).backward()
            optimizer.step()
    return network.state_dict()


def permuted(solution: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same function with its hidden units in another order: a known barrier lies between."""
    order = torch.arange(UNITS).roll(UNITS // 2)
    return {
        "0.weight": solution["0.weight"][order],
        "0.bias": solution["0.bias"][order],
        "2.weight": solution["2.weight"][:, order],
        "2.bias": solution["2.bias"],
    }


def height(module: nn.Module, curve: Curve) -> float:
    profile = loss_along_curve(module, curve, rings())
    return barrier(profile.losses, profile.alphas)


@pytest.mark.parametrize("degree", [2, 3])
def test_a_trained_curve_goes_round_the_barrier(solution: dict[str, Tensor], degree: int) -> None:
    module, end = perceptron(), permuted(solution)
    line = loss_along_line(module, solution, end, rings(), alphas=ENDS_AND_MIDDLE)
    straight = barrier(line.losses, line.alphas)
    assert line.losses[0] == pytest.approx(line.losses[-1], rel=1e-5)
    assert straight > 0.2
    before = copy.deepcopy(module.state_dict())
    curve = train_curve(
        module, solution, end, rings(), degree=degree, epochs=60, optimizer=lambda p: torch.optim.Adam(p, lr=0.02)
    )
    assert height(module, curve) < straight / 4
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert len(curve.points) == degree + 1
    for t, fixed in ((0, solution), (1, end)):
        assert all(torch.equal(curve(t)[name], tensor) for name, tensor in fixed.items())


def test_the_sparse_subspace_is_not_left(solution: dict[str, Tensor]) -> None:
    masks = {"0.weight": torch.rand(UNITS, 2, generator=torch.Generator().manual_seed(1)) < 0.5}
    start = {**solution, "0.weight": solution["0.weight"] * masks["0.weight"]}
    end = {**start, "0.weight": start["0.weight"].flip(1) * masks["0.weight"], "2.weight": -start["2.weight"]}

    class Noisy(torch.optim.SGD):
        """Moves weights that have no gradient, too."""

        def step(self) -> None:
            super().step()
            with torch.no_grad():
                for point in self.param_groups[0]["params"]:
                    point += 0.01

    def noisy(points: list[Tensor]) -> torch.optim.Optimizer:
        return Noisy(points, lr=0.1, momentum=0.9)

    sparse = train_curve(perceptron(), start, end, rings(), masks=masks, epochs=3, optimizer=noisy)
    assert all(not point["0.weight"][~masks["0.weight"]].any() for point in sparse.points)
    assert sparse.points[1]["0.weight"][masks["0.weight"]].any()
    dense = train_curve(perceptron(), start, end, rings(), epochs=3, optimizer=noisy)
    assert dense.points[1]["0.weight"][~masks["0.weight"]].any()
    assert sparse(0.5)["2.bias"].tolist() != dense(0.5)["2.bias"].tolist()


@pytest.mark.parametrize("degree", [2, 3])
def test_an_untrained_curve_is_the_straight_line(solution: dict[str, Tensor], degree: int) -> None:
    end = permuted(solution)
    curve = train_curve(
        perceptron(), solution, end, rings(), degree=degree, epochs=1, optimizer=lambda p: torch.optim.SGD(p, lr=0.0)
    )
    for t in (0.1, 0.5, 0.9):
        for name, tensor in curve(t).items():
            torch.testing.assert_close(tensor, (1 - t) * solution[name] + t * end[name])
    line = loss_along_line(perceptron(), solution, end, rings(), alphas=ENDS_AND_MIDDLE)
    along = loss_along_curve(perceptron(), curve, rings(), positions=ENDS_AND_MIDDLE)
    assert along.losses == pytest.approx(line.losses, rel=1e-4)
    assert along.accuracies == pytest.approx(line.accuracies)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.floats(0, 1))
def test_curves_agree_with_de_casteljau(numbers: list[float], t: float) -> None:
    curve = Curve(tuple({"w": torch.tensor(number, dtype=torch.float64)} for number in numbers))
    left = list(numbers)
    while len(left) > 1:
        left = [(1 - t) * a + t * b for a, b in itertools.pairwise(left)]
    assert float(curve(t)["w"]) == pytest.approx(left[0], abs=1e-12)


def test_a_seed_gives_one_curve(solution: dict[str, Tensor]) -> None:
    def controls(seed: int) -> Tensor:
        return train_curve(perceptron(), solution, permuted(solution), rings(), epochs=1, seed=seed).points[1][
            "0.weight"
        ]

    first = controls(0)
    torch.rand(3)
    assert torch.equal(first, controls(0))
    assert not torch.equal(first, controls(1))


def test_norms_and_own_losses_on_a_curve() -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))

    torch.manual_seed(0)
    module, start, end = network(), network().state_dict(), network().state_dict()
    before = copy.deepcopy(module.state_dict())
    data = [(inputs, label[:, None].float()) for inputs, label in rings()]
    loss = nn.functional.binary_cross_entropy_with_logits
    curve = train_curve(module, start, end, data, epochs=2, loss=loss)
    profile = loss_along_curve(module, curve, data, loss=loss)
    line = loss_along_line(module, start, end, data, alphas=(0, 1), loss=loss)
    assert (profile.losses[0], profile.losses[-1]) == line.losses
    assert profile.accuracies is None
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_bad_curves_are_refused(solution: dict[str, Tensor]) -> None:
    module, end = perceptron(), permuted(solution)
    nan = {**end, "2.bias": torch.tensor([0.0, math.nan])}
    masks = {"0.weight": torch.zeros(UNITS, 2, dtype=torch.bool)}
    for arguments, message in (
        ({"degree": 1}, "degree is 1"),
        ({"epochs": 0}, "epochs 0"),
        ({"end": nan}, r"end\['2.bias'\] holds NaN"),
        ({"start": {}}, "start is of another architecture"),
        ({"masks": {}}, "masks of start is empty: None is what says that all weights are active"),
        ({"masks": masks}, r"start\['0.weight'\] has 32 weights that are not 0 outside its mask"),
        ({"batches": []}, "batches is empty"),
        ({"optimizer": lambda p: torch.optim.SGD(p, lr=1e30)}, "lower the optimizer's learning rate"),
    ):
        with pytest.raises(ValueError, match=message):
            train_curve(module, **{"start": solution, "end": end, "batches": rings(), **arguments})
    last_step = {"epochs": 1, "optimizer": lambda p: torch.optim.SGD(p, lr=3e38, weight_decay=100)}
    with pytest.raises(ValueError, match=r"curve.points\[1\]\['0.weight'\] holds NaN or infinity"):
        train_curve(module, solution, end, rings()[:1], **last_step)
    with pytest.raises(TypeError, match="read only once"):
        train_curve(module, solution, end, iter(rings()))
    with pytest.raises(ValueError, match=r"a curve is defined on \[0, 1\]"):
        loss_along_curve(module, Curve((solution, end)), rings(), positions=(0, 1.2))
    with pytest.raises(ValueError, match=r"curve.points\[1\]\['2.bias'\] holds NaN"):
        loss_along_curve(module, Curve((solution, nan, end)), rings())
    with pytest.raises(ValueError, match="a curve of 1 points"):
        Curve((solution,))
