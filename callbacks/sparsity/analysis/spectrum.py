"""The spectrum of a Hessian, and two ways to compute it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..masks.randomness import generator_for
from .curvature import ActiveGradient, LossClosure, Progress, active_entries, hessian


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The eigenvalues of a Hessian, each with the share of the spectrum that it stands for.

    Args:
        eigenvalues: float64 (n,), ascending. All there are, or those that stand for groups of them.
        shares: float64 (n,), not negative, of sum 1. 1/n each when all are there.
        resolution: an eigenvalue that is closer to 0 than this times the largest magnitude counts as 0. At 1e-6
            float32 rounding stays below: weights without effect, such as those of a unit that never fires, have
            eigenvalues of 0 that it scatters to both sides.

    Raises:
        ValueError: an argument is not as said here.

    Example:
        >>> spectrum = Spectrum.of(torch.tensor([4.0, -1.0, 0.0, 1.0]))
        >>> spectrum.smallest, spectrum.largest, spectrum.negative_share
        (-1.0, 4.0, 0.25)
    """

    eigenvalues: Tensor
    shares: Tensor
    resolution: float = 1e-6

    def __post_init__(self) -> None:
        e, s = self.eigenvalues, self.shares
        if e.dim() != 1 or e.shape != s.shape or not len(e) or {e.dtype, s.dtype} != {torch.float64}:
            raise ValueError(
                f"eigenvalues {e.dtype} {tuple(e.shape)} and shares {s.dtype} {tuple(s.shape)} must be two float64 "
                "lists of the same length, at least 1"
            )
        if not e.isfinite().all() or (e.diff() < 0).any():
            raise ValueError("the eigenvalues must be finite and ascending")

    @classmethod
    def of(cls, eigenvalues: Tensor) -> Spectrum:
        """Return the spectrum of all eigenvalues, which are given in any order."""
        ordered = eigenvalues.detach().double().cpu().sort().values
        return cls(ordered, torch.full_like(ordered, 1 / max(len(ordered), 1)))

    @property
    def largest(self) -> float:
        return float(self.eigenvalues[-1])

    @property
    def smallest(self) -> float:
        return float(self.eigenvalues[0])

    @property
    def negative_share(self) -> float:
        """The share of the eigenvalues that are negative and not counted as 0, in [0, 1]."""
        limit = -self.resolution * float(self.eigenvalues.abs().max())
        return float(self.shares[self.eigenvalues < limit].sum())

    def density(self, grid: Tensor, width: float) -> Tensor:
        """Return the probability density at every point of ``grid``, with each eigenvalue spread as a Gaussian.

        Args:
            grid: (m,).
            width: standard deviation of the Gaussians, above 0.

        Raises:
            ValueError: ``width`` is not above 0.

        Example:
            >>> Spectrum.of(torch.zeros(3)).density(torch.tensor([0.0, 1.0]), width=1.0)
            tensor([0.3989, 0.2420], dtype=torch.float64)
        """
        if not width > 0:
            raise ValueError(f"width is {width}; it is a standard deviation above 0")
        distance = (grid.double()[:, None] - self.eigenvalues) / width
        return torch.exp(-(distance**2) / 2) @ self.shares / (width * math.sqrt(2 * math.pi))


class SpectrumMethod(ABC):
    """A way to compute the spectrum of a Hessian."""

    @abstractmethod
    def __call__(
        self,
        loss: LossClosure,
        parameters: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        *,
        progress: Progress | None = None,
    ) -> Spectrum:
        """Return the spectrum of the Hessian at the active entries.

        Args:
            loss: as in :func:`hessian`.
            parameters: as there.
            masks: as there.
            progress: called with how many second derivatives of how many are done, in the end with all.
        """


@dataclass(frozen=True)
class ExactSpectrum(SpectrumMethod):
    """The spectrum of all eigenvalues of the exact Hessian.

    Args:
        max_gib: as in :func:`hessian`.

    Raises:
        ValueError: as :func:`hessian`.

    Example:
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> ExactSpectrum()(lambda: (w**3).sum(), {"w": w}).eigenvalues
        tensor([-12.,   6.], dtype=torch.float64)
    """

    max_gib: float = 2.0

    def __call__(
        self,
        loss: LossClosure,
        parameters: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        *,
        progress: Progress | None = None,
    ) -> Spectrum:
        matrix = hessian(loss, parameters, masks, max_gib=self.max_gib, progress=progress)
        return Spectrum.of(torch.linalg.eigvalsh(matrix))


@dataclass(frozen=True)
class LanczosSpectrum(SpectrumMethod):
    """An estimate of the spectrum of a Hessian of any size, by stochastic Lanczos quadrature.

    The extremes converge first. Elsewhere eigenvalues merge that are closer than about 1 / steps of the largest
    magnitude, those around 0 too: the resolution is 1 / (4 * steps). To compare the share of negative eigenvalues
    with that of an exact spectrum give both the same, ``dataclasses.replace(exact, resolution=...)``.

    Args:
        steps: products with vectors per probe, 1 or more, and eigenvalues that are returned. Takes steps * n * 8 bytes.
        probes: random vectors to average over, 1 or more.
        seed: the seed of the vectors.

    Raises:
        ValueError: an argument is out of range; when called, as :func:`hessian`, but for the size.

    Reference:
        Ubaru, Chen, Saad: Fast estimation of tr(f(A)) via stochastic Lanczos quadrature, SIAM J. Matrix Anal. 2017;
        Ghorbani, Krishnan, Xiao: An investigation into neural net optimization via Hessian eigenvalue density, ICML
        2019. With full re-orthogonalisation.

    Example:
        >>> w = torch.tensor([1.0, -2.0, -1.0, 3.0], requires_grad=True)
        >>> round(LanczosSpectrum()(lambda: (w**3).sum(), {"w": w}).largest, 3)
        18.0
    """

    steps: int = 80
    probes: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "probes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is 1 or more")

    def __call__(
        self,
        loss: LossClosure,
        parameters: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        *,
        progress: Progress | None = None,
    ) -> Spectrum:
        gradient = ActiveGradient(loss, parameters, active_entries(parameters, masks))
        steps = min(self.steps, gradient.size)
        eigenvalues, shares = [], []
        for probe in range(self.probes):
            start = torch.randn(gradient.size, generator=generator_for(self.seed, probe), dtype=torch.float64)

            def report(done: int, before: int = probe * steps) -> None:
                if progress:
                    progress(before + done, self.probes * steps)

            values, vectors = torch.linalg.eigh(_tridiagonal(gradient.product, start, steps, report))
            eigenvalues.append(values)
            shares.append(vectors[0] ** 2 / self.probes)
        ordered, order = torch.cat(eigenvalues).sort()
        return Spectrum(ordered, torch.cat(shares)[order], resolution=1 / (4 * self.steps))


def _tridiagonal(
    product: Callable[[Tensor], Tensor], start: Tensor, steps: int, report: Callable[[int], None]
) -> Tensor:
    """Return the Hessian in the orthonormal basis of the Krylov space that ``start`` spans."""
    basis = start.new_zeros(steps, len(start))
    matrix = start.new_zeros(steps, steps)
    basis[0] = start / start.norm()
    for j in range(steps):
        vector = product(basis[j])
        matrix[j, j] = vector @ basis[j]
        for _ in range(2):  # in finite precision once is not enough, but twice is
            vector -= (basis[: j + 1] @ vector) @ basis[: j + 1]
        beta = vector.norm()
        if j + 1 == steps or beta <= 1e-12 * matrix.abs().max():
            report(steps)
            return matrix[: j + 1, : j + 1]  # beta is 0 when the space is complete
        matrix[j, j + 1] = matrix[j + 1, j] = beta
        basis[j + 1] = vector / beta
        report(j + 1)
    raise AssertionError("unreachable: the last step returns")
