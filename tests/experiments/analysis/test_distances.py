import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist, squareform
from torch import Tensor, nn

from experiments.analysis import cosine_distances, l2_distances, mds_map

NAMES = ["a", "b"]


def solutions(count: int, seed: int = 0) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "a": torch.randn(3, 4, generator=generator),
            "b": torch.randn(5, generator=generator),
            "running_mean": torch.randn(5, generator=generator),
            "steps": torch.tensor(7),
        }
        for _ in range(count)
    ]


def flat(weights: dict[str, Tensor]) -> list[float]:
    return [*weights["a"].flatten().tolist(), *weights["b"].tolist()]


def test_distances_agree_with_scipy() -> None:
    given_ = solutions(4)
    rows = [flat(weights) for weights in given_]
    np.testing.assert_allclose(l2_distances(given_, NAMES), squareform(pdist(rows)), rtol=1e-12)
    np.testing.assert_allclose(cosine_distances(given_, NAMES), squareform(pdist(rows, "cosine")), rtol=1e-12)


@given(st.integers(1, 5), st.integers(0, 10**6))
def test_distances_are_symmetric_and_zero_between_equals(count: int, seed: int) -> None:
    given_ = solutions(count, seed)
    for matrix in (l2_distances([*given_, given_[0]], NAMES), cosine_distances([*given_, given_[0]], NAMES)):
        np.testing.assert_array_equal(matrix, matrix.T)
        assert not np.diagonal(matrix).any()
        assert matrix[0, -1] == pytest.approx(0, abs=1e-15)
        assert (matrix >= 0).all()


def test_close_solutions_lose_no_precision() -> None:
    """A distance from scalar products would be 0 or noise here."""
    first = {"w": torch.full((1000,), 100.0, dtype=torch.float64)}
    second = {"w": first["w"] + 1e-9}
    assert l2_distances([first, second], ["w"])[0, 1] == pytest.approx(1e-9 * math.sqrt(1000), rel=1e-4)


def test_opposite_solutions_have_cosine_distance_two() -> None:
    weights = {"w": torch.tensor([1.0, -3.0])}
    assert cosine_distances([weights, {"w": -2 * weights["w"]}], ["w"])[0, 1] == pytest.approx(2)


def test_state_dicts_and_half_precision_parameters_of_a_network() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).half()
    names = [name for name, _ in network.named_parameters()]
    moved = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    moved["1.running_mean"] += 5  # not a parameter
    moved["0.bias"] += 2
    expected = 2 * math.sqrt(2)
    assert l2_distances([network.state_dict(), moved], names)[0, 1] == pytest.approx(expected, rel=1e-3)
    assert l2_distances([dict(network.named_parameters()), moved], names)[0, 1] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("measure", [l2_distances, cosine_distances])
def test_bad_solutions_are_refused(measure) -> None:
    good, other = solutions(2)
    for bad, names, message in (
        ([], NAMES, "0 solutions and 2 names"),
        ([good], [], "1 solutions and 0 names"),
        ([good, {"a": good["a"]}], NAMES, r"solutions\[1\] has no 'b'"),
        ([good, {**other, "b": torch.ones(6)}], NAMES, r"solutions\[1\]\['b'\] has shape \(6,\) and the first \(5,\)"),
        ([good, {**other, "b": torch.full((5,), math.nan)}], NAMES, r"solutions\[1\]\['b'\] holds NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            measure(bad, names)
    with pytest.raises(TypeError, match="leave it out of names"):
        measure([good, other], ["steps"])


def test_a_direction_needs_a_weight() -> None:
    with pytest.raises(ValueError, match=r"solutions\[1\] is 0 in all of \['w'\]"):
        cosine_distances([{"w": torch.ones(2)}, {"w": torch.zeros(2)}], ["w"])


@given(st.integers(2, 12), st.integers(0, 10**6), st.sampled_from([1e-6, 1.0, 1e6]))
def test_the_map_reproduces_distances_in_the_plane(count: int, seed: int, scale: float) -> None:
    points = np.random.default_rng(seed).normal(size=(count, 2)) * scale
    distances = squareform(pdist(points))
    found = mds_map(distances)
    np.testing.assert_allclose(cdist(found.points, found.points), distances, atol=1e-6 * scale)
    np.testing.assert_allclose(found.points.mean(0), 0, atol=1e-9 * scale)
    assert found.stress == pytest.approx(0, abs=1e-6)


def test_the_map_of_many_dimensions_is_deterministic_and_honest() -> None:
    points = np.random.default_rng(0).normal(size=(11, 30))
    distances = squareform(pdist(points))
    found = mds_map(distances)
    np.testing.assert_array_equal(found.points, mds_map(distances).points)
    drawn = pdist(found.points)
    stress = math.sqrt(((drawn - pdist(points)) ** 2).sum() / (drawn**2).sum())  # Kruskal's stress-1
    assert found.stress == pytest.approx(stress, rel=1e-6)
    assert found.stress < 0.33
    # at a minimum no scaling of the map lowers the raw stress
    assert (drawn @ pdist(points)) / (drawn @ drawn) == pytest.approx(1, abs=1e-4)


def test_rounding_errors_of_symmetry_are_no_matter() -> None:
    distances = squareform(pdist(np.random.default_rng(0).normal(size=(4, 2)) * 1e6))
    found = mds_map(distances * (1 + 1e-12 * np.tri(4)))
    np.testing.assert_allclose(cdist(found.points, found.points), distances, rtol=1e-6, atol=1e-6)


def test_equal_solutions_fall_on_one_point_of_the_map() -> None:
    found = mds_map(np.array([[0, 0, 3], [0, 0, 3], [3, 3, 0]], dtype=float))
    np.testing.assert_allclose(pdist(found.points), [0, 3, 3], atol=1e-4)


def test_bad_matrices_are_refused() -> None:
    for bad, message in (
        (np.zeros((2, 3)), r"shape \(2, 3\)"),
        (np.zeros((1, 1)), "n at least 2"),
        (np.zeros((3, 3)), "nothing to draw"),
        (np.array([[0, 1], [2, 0]]), "symmetric"),
        (np.array([[0, -1], [-1, 0]]), "0 or more"),
        (np.array([[0, math.nan], [math.nan, 0]]), "finite"),
        (np.array([[1, 1], [1, 1]]), "0 on the diagonal"),
    ):
        with pytest.raises(ValueError, match=message):
            mds_map(bad)
