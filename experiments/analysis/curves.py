"""Bezier curves of low loss between two solutions."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from .evaluation import Batches, LossProfile, OutputLoss, checked_batches, loss_along
from .solutions import Weights, check_solution, straight_line

POSITIONS = tuple(step / 20 for step in range(21))


@dataclass(frozen=True)
class Curve:
    """A Bezier curve through weight space; called with a position in [0, 1] it returns weights.

    Args:
        points: the start, the control points and the end, each as tensors by parameter name. Two points make a
            straight line, three a quadratic curve, four a cubic one.

    Example:
        >>> zero, one = {"w": torch.tensor(0.0)}, {"w": torch.tensor(1.0)}
        >>> Curve((zero, one, zero))(0.5)
        {'w': tensor(0.5000)}
    """

    points: tuple[Weights, ...]

    def __post_init__(self) -> None:
        if len(self.points) < 2:
            raise ValueError(f"a curve of {len(self.points)} points; it takes its two ends or more")

    def __call__(self, t: float) -> dict[str, Tensor]:
        degree = len(self.points) - 1
        shares = [math.comb(degree, k) * t**k * (1 - t) ** (degree - k) for k in range(degree + 1)]
        weights = {}
        for name, first in self.points[0].items():
            weights[name] = shares[0] * first
            for share, point in zip(shares[1:], self.points[1:], strict=True):
                weights[name] = weights[name] + share * point[name]
        return weights


def train_curve(
    module: nn.Module,
    start: Weights,
    end: Weights,
    batches: Batches,
    *,
    degree: int = 2,
    masks: Weights | None = None,
    epochs: int = 10,
    optimizer: Callable[[list[Tensor]], Optimizer] = lambda points: torch.optim.Adam(points, lr=1e-3),
    loss: OutputLoss = F.cross_entropy,
    seed: int = 0,
) -> Curve:
    """Bend a curve from ``start`` to ``end`` so that the mean loss on it is low.

    This minimizes E[loss(curve(t))] over the control points, for t uniform on [0, 1], one t a batch. The control points
    begin at equal distances on the straight line. A copy of the network is in training mode; ``module`` is not changed.

    Args:
        module: the network of both solutions.
        start: weights by parameter name, such as a state dict; they stay fixed.
        end: the weights of the other solution; they stay fixed, too.
        batches: training data, (input, label) pairs, read once an epoch.
        degree: 2 is quadratic with one control point, 3 cubic with two.
        masks: bool masks by weight. With masks the control points are 0 outside of them, too, so that the curve stays
            in the sparse subspace of the solutions. Without masks it may use the full, dense space.
        epochs: passes over ``batches``.
        optimizer: called with the tensors of the control points.
        loss: maps outputs and labels to the mean loss of a batch.
        seed: seed of the positions t.

    Raises:
        ValueError: a solution is not one of ``module``, not finite or not 0 outside ``masks``; ``degree`` is below 2 or
            ``epochs`` below 1; there is no data; the training diverges.
        TypeError: ``batches`` can be read only once, or a mask is not bool.

    Reference:
        Garipov et al. 2018, section 3; Evci et al. 2020 (RigL), section 4.4, for the two spaces.
    """
    if degree < 2 or epochs < 1:
        raise ValueError(
            f"degree is {degree} and epochs {epochs}; degree is 2 (quadratic) or more, epochs 1 or more. "
            "A straight line needs no training: loss_along_line"
        )
    check_solution("start", start, module, masks)
    check_solution("end", end, module, masks)
    network = copy.deepcopy(module).requires_grad_(False).train()
    curve = _straight(network, start, end, degree)
    generator = torch.Generator().manual_seed(seed)
    tensors = [tensor.requires_grad_() for point in curve.points[1:-1] for tensor in point.values()]
    steps = optimizer(tensors)
    for _ in range(epochs):
        for inputs, label in checked_batches(batches, network):
            weights = _masked(curve(float(torch.rand((), generator=generator))), masks)
            value = loss(functional_call(network, weights, (inputs,)), label)
            if not value.isfinite():
                raise ValueError(f"the loss on the curve became {value.item()}: lower the optimizer's learning rate")
            steps.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            steps.step()
    trained = Curve(tuple(_masked({name: w.detach() for name, w in point.items()}, masks) for point in curve.points))
    _check_points(trained, module)
    return trained


def loss_along_curve(
    module: nn.Module,
    curve: Curve,
    batches: Batches,
    *,
    positions: Sequence[float] = POSITIONS,
    loss: OutputLoss = F.cross_entropy,
) -> LossProfile:
    """Return the loss at positions on a curve; running statistics are estimated anew at each.

    ``module`` is not changed. ``barrier(profile.losses, profile.alphas)`` is the height of the barrier.

    Args:
        module: the network whose weights the curve gives.
        curve: a curve from :func:`train_curve`.
        batches: (input, label) pairs, as in :func:`loss_along_line`.
        positions: positions on the curve, in [0, 1].
        loss: maps outputs and labels to the mean loss of a batch.

    Raises:
        ValueError: a point of the curve is not finite or of another network, a position is outside [0, 1], or there is
            no data.
        TypeError: ``batches`` can be read only once.
    """
    _check_points(curve, module)
    if not all(0 <= position <= 1 for position in positions):
        raise ValueError(f"positions is {tuple(positions)}; a curve is defined on [0, 1]")
    return loss_along(curve, module, batches, positions, loss)


def _straight(network: nn.Module, start: Weights, end: Weights, degree: int) -> Curve:
    """Return the straight line as a curve of a higher degree, with control points at equal distances."""
    line = straight_line(network, start, end)
    return Curve(tuple(line(k / degree) for k in range(degree + 1)))


def _check_points(curve: Curve, module: nn.Module) -> None:
    for index, point in enumerate(curve.points):
        check_solution(f"curve.points[{index}]", point, module)


def _masked(weights: Mapping[str, Tensor], masks: Weights | None) -> dict[str, Tensor]:
    if masks is None:
        return dict(weights)
    return {name: weight * masks[name].to(weight) if name in masks else weight for name, weight in weights.items()}
