import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbacks.sparsity import ER, ERK, Distribution, Uniform
from lightning_modules.networks import LeNet5, LeNet300100

SHAPES = {
    "LeNet5": {n: p.shape for n, p in LeNet5().named_parameters() if p.dim() > 1},
    "LeNet300100": {n: p.shape for n, p in LeNet300100().named_parameters() if p.dim() > 1},
}
# Evci et al. 2020 and the authors' sparsity arithmetic; computed from the formulas, checked against published FLOPs.
GOLDEN_ERK = [
    ("LeNet5", 0.80, [0.0, 0.829, 0.843, 0.7405, 0.0]),
    ("LeNet5", 0.95, [0.6536, 0.9592, 0.9626, 0.9381, 0.6579]),
    ("LeNet300100", 0.90, [0.9204, 0.7698, 0.0]),
    ("LeNet300100", 0.98, [0.9846, 0.9555, 0.6326]),
]


@pytest.mark.parametrize(("network", "sparsity", "expected"), GOLDEN_ERK)
def test_erk_golden_values(network: str, sparsity: float, expected: list[float]) -> None:
    shapes = SHAPES[network]
    counts = ERK()(shapes, sparsity)
    for (name, count), golden in zip(counts.items(), expected, strict=True):
        size = math.prod(shapes[name])
        # within the golden value's digits and one weight of rounding
        assert abs((1 - count / size) - golden) <= 5.1e-4 + 1 / size, name
        assert golden or count == size, f"{name} should be dense"


def test_erk_meets_the_whole_budget_of_lenet5() -> None:
    assert sum(ERK()(SHAPES["LeNet5"], 0.95).values()) == 2210


def test_uniform_golden_values() -> None:
    assert list(Uniform()(SHAPES["LeNet5"], 0.95).values()) == [8, 120, 1536, 504, 42]


def test_uniform_can_keep_the_first_layer_dense() -> None:
    counts = Uniform(first_layer_dense=True)(SHAPES["LeNet5"], 0.95)
    assert list(counts.values()) == [150, 120, 1536, 504, 42]


def test_er_uses_channels_only() -> None:
    shapes = {"a": (8, 8, 3, 3), "b": (8, 8, 1, 1)}
    counts = ER()(shapes, 0.5)
    assert counts["a"] / 576 == pytest.approx(counts["b"] / 64, abs=0.02)  # same channels, same density
    assert ERK()(shapes, 0.5)["b"] == 64  # the kernel makes the small layer dense


def test_erk_with_power_zero_is_uniform() -> None:
    shapes = SHAPES["LeNet300100"]
    erk, uniform = ERK(power=0.0)(shapes, 0.9), Uniform()(shapes, 0.9)
    assert all(abs(erk[name] - uniform[name]) <= 1 for name in shapes)


def reference_erk(shapes: dict[str, tuple[int, ...]], sparsity: float) -> dict[str, float]:
    """The published iteration, one layer of the highest ratio at a time, in plain numbers."""
    raw = {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()}
    size = {name: math.prod(shape) for name, shape in shapes.items()}
    zeros = math.floor(round(sparsity * sum(size.values()), 6))
    dense: set[str] = set()
    while True:
        free = [name for name in shapes if name not in dense]
        budget = sum(size.values()) - zeros - sum(size[name] for name in dense)
        eps = budget / sum(raw[name] * size[name] for name in free)
        highest = max(raw[name] for name in free)
        if eps * highest <= 1:
            return {name: 1.0 if name in dense else eps * raw[name] for name in shapes}
        dense |= {name for name in free if raw[name] == highest}


shape = st.lists(st.integers(1, 12), min_size=2, max_size=4).map(tuple)
layers = st.lists(shape, min_size=1, max_size=6).map(lambda shapes: {f"l{i}": s for i, s in enumerate(shapes)})


@given(layers, st.floats(0, 0.99))
def test_erk_agrees_with_the_published_iteration(shapes: dict[str, tuple[int, ...]], sparsity: float) -> None:
    counts = ERK().counts(shapes, sparsity)
    total = sum(math.prod(s) for s in shapes.values())
    assert sum(counts.values()) == total - math.floor(round(sparsity * total, 6))
    for name, density in reference_erk(shapes, sparsity).items():
        assert abs(counts[name] - density * math.prod(shapes[name])) <= 1 + 1e-6


@given(layers, st.floats(0, 0.99), st.sampled_from([Uniform(), ER(), ERK(), ERK(power=0.5)]))
def test_budgets_are_whole_and_within_the_layer(
    shapes: dict[str, tuple[int, ...]], sparsity: float, distribution: Distribution
) -> None:
    for name, count in distribution.counts(shapes, sparsity).items():
        assert isinstance(count, int)
        assert 0 <= count <= math.prod(shapes[name])


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan")])
def test_sparsity_outside_its_range_is_refused(sparsity: float) -> None:
    with pytest.raises(ValueError, match=r"sparsity is .* \[0, 1\)"):
        ERK()(SHAPES["LeNet5"], sparsity)


def test_an_empty_layer_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="leaves 'wide' .* without a weight"):
        ERK()({"wide": (2, 2), "big": (1000, 1000)}, 0.99999)


def test_power_is_checked() -> None:
    with pytest.raises(ValueError, match=r"ERK.power is 2"):
        ERK(power=2)
