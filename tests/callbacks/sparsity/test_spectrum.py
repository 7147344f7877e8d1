from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from callbacks.sparsity import ExactSpectrum, LanczosSpectrum, Spectrum, generator_for

numbers = st.lists(st.floats(-100, 100), min_size=1, max_size=20)


@given(numbers)
def test_numbers_of_a_whole_spectrum(values: list[float]) -> None:
    spectrum = Spectrum.of(torch.tensor(values, dtype=torch.float64))
    assert spectrum.largest == max(values)
    assert spectrum.smallest == min(values)
    scale = max(abs(value) for value in values)
    assert spectrum.negative_share == pytest.approx(np.mean([value < -1e-6 * scale for value in values]))


@given(numbers, st.floats(0.1, 10))
def test_the_density_is_one_and_agrees_with_a_slow_reference(values: list[float], width: float) -> None:
    grid = np.linspace(-200, 200, 4001)
    density = Spectrum.of(torch.tensor(values)).density(torch.tensor(grid), width).numpy()
    values32 = np.float32(values).astype(float)
    expected = (
        np.mean([np.exp(-(((grid - v) / width) ** 2) / 2) for v in values32], axis=0) / width / np.sqrt(2 * np.pi)
    )
    np.testing.assert_allclose(density, expected, atol=1e-12)
    assert density.sum() * 0.1 == pytest.approx(1, abs=1e-6)


def test_rounding_around_zero_is_not_negative() -> None:
    assert Spectrum.of(torch.tensor([10.0, -1e-7, -1e-9, 0.0])).negative_share == 0
    assert Spectrum.of(torch.tensor([10.0, -1e-4, -1e-9, 0.0])).negative_share == 0.25
    assert Spectrum.of(torch.zeros(3)).negative_share == 0


def test_shares_weigh_the_eigenvalues() -> None:
    spectrum = Spectrum(torch.tensor([-1.0, 3.0]).double(), torch.tensor([0.2, 0.8]).double())
    assert spectrum.negative_share == pytest.approx(0.2)
    at = spectrum.density(torch.tensor([-1.0, 3.0]), 0.1)
    assert at[1] / at[0] == pytest.approx(4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Spectrum.of(torch.zeros(0)), "at least 1"),
        (
            lambda: Spectrum(torch.zeros(2), torch.zeros(3)),
            r"\(2,\) and shares torch.float32 \(3,\) must be",
        ),
        (lambda: Spectrum(torch.zeros(2), torch.zeros(2)), "must be two float64 lists"),
        (lambda: Spectrum.of(torch.tensor([0.0, torch.nan])), "must be finite and ascending"),
        (lambda: Spectrum(torch.tensor([1.0, 0.0]).double(), torch.ones(2).double()), "must be finite and ascending"),
        (lambda: Spectrum.of(torch.zeros(1)).density(torch.zeros(1), 0.0), "width is 0.0"),
        (lambda: LanczosSpectrum(steps=0), "steps is 0"),
        (lambda: LanczosSpectrum(probes=0), "probes is 0"),
    ],
)
def test_refusals(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


# --- quadratics of known spectrum -------------------------------------------------------------------


def quadratic(eigenvalues: torch.Tensor):
    """A loss of a float64 vector whose Hessian has these eigenvalues, and the vector."""
    size = len(eigenvalues)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator_for(3), dtype=torch.float64)).Q
    matrix = (basis * eigenvalues) @ basis.T
    w = torch.randn(size, generator=generator_for(4), dtype=torch.float64, requires_grad=True)
    return lambda: w @ matrix @ w / 2, {"w": w}


def test_exact_finds_every_eigenvalue() -> None:
    eigenvalues = torch.linspace(-3, 8, 40, dtype=torch.float64)
    torch.testing.assert_close(ExactSpectrum()(*quadratic(eigenvalues)).eigenvalues, eigenvalues)
    with pytest.raises(ValueError, match="takes 1.19e-05 GiB, more than max_gib=1e-09"):
        ExactSpectrum(max_gib=1e-9)(*quadratic(eigenvalues))


def test_lanczos_estimates_the_share_of_negative_eigenvalues_and_the_density() -> None:
    generator = generator_for(5)
    bulk = torch.randn(360, generator=generator, dtype=torch.float64) * 0.5 + 0.4
    eigenvalues = torch.cat([bulk, torch.linspace(4, 9, 10), torch.tensor([-4.0])])
    exact = Spectrum.of(eigenvalues)
    found = LanczosSpectrum(steps=60, probes=8)(*quadratic(eigenvalues))
    exact = dataclasses.replace(exact, resolution=found.resolution)
    assert float(found.shares.sum()) == pytest.approx(1)
    assert found.largest == pytest.approx(9, rel=1e-6)
    assert found.smallest == pytest.approx(-4, rel=1e-6)
    assert exact.negative_share > 0.15
    assert found.negative_share == pytest.approx(exact.negative_share, abs=0.03)
    assert float(found.eigenvalues @ found.shares) == pytest.approx(float(eigenvalues.mean()), abs=0.05)
    grid = torch.linspace(-5, 10, 100)
    difference = (found.density(grid, 0.3) - exact.density(grid, 0.3)).abs()
    assert difference.max() < 0.05 * exact.density(grid, 0.3).max()


def test_many_eigenvalues_of_zero_are_not_taken_for_negative_ones() -> None:
    eigenvalues = torch.cat([torch.zeros(200), 1e-5 * torch.randn(50, generator=generator_for(6)), torch.ones(50)])
    eigenvalues[-5:] = torch.tensor([-1.0, -0.5, 3.0, 5.0, 9.0])
    found = LanczosSpectrum(steps=30, probes=8)(*quadratic(eigenvalues.double()))
    assert found.negative_share == pytest.approx(2 / 300, abs=0.005)


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_one_eigenvalue_many_times_is_found_in_one_step(value: float) -> None:
    found = LanczosSpectrum(probes=2)(*quadratic(torch.full((30,), value, dtype=torch.float64)))
    assert float(found.shares[(found.eigenvalues - value).abs() < 1e-9].sum()) == pytest.approx(1)


def test_lanczos_of_more_steps_than_entries_is_exact_and_repeats() -> None:
    eigenvalues = torch.tensor([-2.0, 0.5, 1.0, 4.0], dtype=torch.float64)
    one, two, other = (LanczosSpectrum(probes=1, seed=seed)(*quadratic(eigenvalues)) for seed in (0, 0, 1))
    torch.testing.assert_close(one.eigenvalues, eigenvalues)
    assert torch.equal(one.shares, two.shares)
    assert not torch.equal(one.shares, other.shares)


def test_progress_counts_products_to_the_end() -> None:
    def told(method: ExactSpectrum | LanczosSpectrum, eigenvalues: torch.Tensor) -> list[tuple[int, int]]:
        calls: list[tuple[int, int]] = []
        method(*quadratic(eigenvalues), progress=lambda done, of: calls.append((done, of)))
        return calls

    assert told(ExactSpectrum(), torch.linspace(1, 2, 6)) == [(row, 6) for row in range(1, 7)]
    assert told(LanczosSpectrum(steps=4, probes=2), torch.linspace(1, 2, 9)) == [
        (product, 8) for product in range(1, 9)
    ]
    # of one eigenvalue alone the space is complete at once
    assert told(LanczosSpectrum(steps=4, probes=2), torch.full((9,), 2.0)) == [(4, 8), (8, 8)]
