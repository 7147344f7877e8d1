"""Distances between solutions in weight space, and a map of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .solutions import Weights

Matrix = NDArray[np.float64]


def l2_distances(solutions: Sequence[Weights], names: Sequence[str]) -> Matrix:
    """Return L2 distances between solutions, all named parameters taken together, in double precision.

    Weights count as they are: masked ones are 0.

    Args:
        solutions: n mappings from parameter name to tensor, such as state dicts.
        names: the parameters to compare; the rest of a state dict, such as running statistics, is left out.

    Returns:
        A matrix (n, n), symmetric, with 0 on the diagonal.

    Raises:
        ValueError: there is nothing to compare, or a solution lacks a name, has another shape, or is not finite.
        TypeError: a tensor does not hold real floating-point numbers.

    Example:
        >>> l2_distances([{"w": torch.zeros(2)}, {"w": torch.tensor([3.0, 4.0])}], ["w"])
        array([[0., 5.],
               [5., 0.]])
    """
    squares = torch.zeros(len(solutions), len(solutions), dtype=torch.float64)
    for rows in _stacked(solutions, names):
        squares += torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    return np.asarray(squares.sqrt())


def cosine_distances(solutions: Sequence[Weights], names: Sequence[str]) -> Matrix:
    """Return 1 - cosine of the angle between solutions as vectors from the origin, in [0, 2].

    Arguments, result and errors are those of :func:`l2_distances`; besides, a solution whose weights are all 0 has no
    angle and is an error.

    Example:
        >>> cosine_distances([{"w": torch.tensor([2.0, 0.0])}, {"w": torch.tensor([0.0, 1.0])}], ["w"])
        array([[0., 1.],
               [1., 0.]])
    """
    products = torch.zeros(len(solutions), len(solutions), dtype=torch.float64)
    for rows in _stacked(solutions, names):
        products += rows @ rows.T
    norms = products.diagonal().sqrt()
    if not norms.all():
        raise ValueError(f"solutions[{int(norms.argmin())}] is 0 in all of {list(names)[:4]}: it has no direction")
    distances = (1 - products / torch.outer(norms, norms)).clamp(0, 2).tril(-1)
    return np.asarray(distances + distances.T)  # a matrix product is not symmetric to the last bit on every processor


@dataclass(frozen=True)
class Map:
    """Points in the plane whose distances are as close as they can be to given ones.

    Args:
        points: positions (n, 2), centred, in the unit of the distances; their rotation and reflection mean nothing.
        stress: Kruskal's stress-1: 0 is perfect, 0.05 good, 0.2 poor.
    """

    points: Matrix
    stress: float


def mds_map(distances: Matrix) -> Map:
    """Draw a map from a distance matrix by metric multidimensional scaling.

    SMACOF starts from the solution of classical scaling: nothing is random, and the map is exact where the distances
    are those of points in a plane.

    Args:
        distances: (n, n), n at least 2, symmetric, non-negative, with 0 on the diagonal.

    Raises:
        ValueError: ``distances`` is not such a matrix, or all distances are 0.

    Example:
        >>> drawn = mds_map(np.array([[0, 3, 4], [3, 0, 5], [4, 5, 0]], dtype=float))
        >>> bool(np.isclose(np.linalg.norm(drawn.points[1] - drawn.points[2]), 5))
        True

    Reference:
        Evci et al. 2022, the figure of LeNet-5 solutions; they do not state their starting points.
    """
    given = np.asarray(distances, dtype=np.float64)
    if given.ndim != 2 or given.shape[0] != given.shape[1] or len(given) < 2:
        raise ValueError(f"distances has shape {given.shape}; it is (n, n) with n at least 2")
    if not np.isfinite(given).all() or (given < 0).any() or np.diagonal(given).any():
        raise ValueError("distances must be finite, 0 or more, and exactly 0 on the diagonal")
    if not given.any() or not np.allclose(given, given.T, rtol=1e-9, atol=1e-9 * given.max()):
        raise ValueError("distances must be symmetric, and not all 0: there is nothing to draw")
    from sklearn.manifold import MDS  # type: ignore[import-untyped]  # imported late: reports need it not

    mds = MDS(n_components=2, metric="precomputed", init="classical_mds", n_init=1, normalized_stress=True)
    points = mds.fit_transform(given)
    return Map(np.asarray(points), float(mds.stress_))


def _stacked(solutions: Sequence[Weights], names: Sequence[str]) -> Iterator[Tensor]:
    """Yield for each name a tensor (n, size) of all solutions."""
    if not solutions or not names:
        raise ValueError(f"{len(solutions)} solutions and {len(names)} names: give one of each or more")
    for name in names:
        yield torch.stack([_row(solutions, index, name) for index in range(len(solutions))])


def _row(solutions: Sequence[Weights], index: int, name: str) -> Tensor:
    if name not in solutions[index]:
        raise ValueError(f"solutions[{index}] has no {name!r}; names must be in every solution")
    tensor, shape = solutions[index][name].detach(), solutions[0][name].shape
    if tensor.shape != shape:
        raise ValueError(
            f"solutions[{index}][{name!r}] has shape {tuple(tensor.shape)} and the first {tuple(shape)}: "
            "solutions of different architectures have no distance"
        )
    if not tensor.is_floating_point():
        raise TypeError(f"solutions[{index}][{name!r}] is {tensor.dtype}; leave it out of names")
    if not tensor.isfinite().all():
        raise ValueError(f"solutions[{index}][{name!r}] holds NaN or infinity: take a run that did not diverge")
    return tensor.flatten().cpu().double()
