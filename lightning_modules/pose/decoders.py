"""Decoders: how heatmaps become joints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


class Decoder(ABC):
    """A rule that finds the joint of each heatmap, and how high the heatmap is there.

    All decoders but :class:`QuarterOffset` undo :func:`encode`: cell i of stride s is centred at px
    s * i + (s - 1) / 2.
    """

    def __call__(self, heatmaps: Tensor, stride: int = 4) -> tuple[Tensor, Tensor]:
        """Return joints (B, K, 2) px and scores (B, K), float32.

        The score is the heatmap's maximum, and the joint lies near the first cell that has it.

        Args:
            heatmaps: (B, K, h, w).
            stride: pixels along the side of a cell.

        Raises:
            ValueError: the heatmaps have another shape, or values that are not finite.
        """
        if heatmaps.dim() != 4 or min(heatmaps.shape[2:]) < 1:
            raise ValueError(f"heatmaps have shape {tuple(heatmaps.shape)}; they are (B, K, h, w)")
        heatmaps = heatmaps.float()
        if not bool(heatmaps.isfinite().all()):
            joints = sorted(set(torch.nonzero(~heatmaps.isfinite())[:, 1].tolist()))
            raise ValueError(
                f"heatmaps of joints {joints} are not finite: the network has diverged, or its input is not"
            )
        width = heatmaps.shape[3]
        score, index = heatmaps.flatten(2).max(2)
        with torch.autocast(heatmaps.device.type, enabled=False):  # a position in bfloat16 would be off by a pixel
            cells = self.refine(heatmaps, torch.stack([index % width, index // width], dim=2))
        return self.to_px(cells, stride), score

    @abstractmethod
    def refine(self, heatmaps: Tensor, peak: Tensor) -> Tensor:
        """Return positions (B, K, 2) in cells.

        Args:
            heatmaps: (B, K, h, w) float32.
            peak: (B, K, 2) int64, column and row of the maxima.
        """

    def to_px(self, cells: Tensor, stride: int) -> Tensor:
        """Return positions in px, from positions in cells."""
        return cells * stride + (stride - 1) / 2


@dataclass(frozen=True)
class Argmax(Decoder):
    """A decoder that takes the centre of the highest cell, at most half a cell from the joint.

    Example:
        >>> heatmaps = torch.zeros(1, 1, 8, 8)
        >>> heatmaps[0, 0, 2, 5] = 1
        >>> Argmax()(heatmaps)[0].tolist()
        [[[21.5, 9.5]]]
    """

    def refine(self, heatmaps: Tensor, peak: Tensor) -> Tensor:
        return peak.float()


@dataclass(frozen=True)
class QuarterOffset(Decoder):
    """A decoder that moves the highest cell by a quarter towards its higher neighbours; it undoes ``encode_legacy``.

    Reference:
        ``get_final_preds`` in the code of Sun et al. 2019. As there, cells on the border and in columns and rows 0 and
        1 are not moved, and a heatmap without a positive value gives cell (0, 0).
    """

    def refine(self, heatmaps: Tensor, peak: Tensor) -> Tensor:
        peak = peak * (heatmaps.amax((2, 3)) > 0)[..., None]
        x, y = peak.unbind(2)
        step = torch.stack(
            [
                _values_at(heatmaps, x + 1, y) - _values_at(heatmaps, x - 1, y),
                _values_at(heatmaps, x, y + 1) - _values_at(heatmaps, x, y - 1),
            ],
            dim=2,
        )
        inside = _cells_to_border(heatmaps, peak) >= 1
        return peak + 0.25 * step.sign() * (inside & (peak.amin(2) > 1))[..., None]

    def to_px(self, cells: Tensor, stride: int) -> Tensor:
        return cells * stride


@dataclass(frozen=True)
class DARK(Decoder):
    """A decoder that takes one Newton step on the logarithm of the blurred heatmap, from the highest cell.

    The logarithm of a Gaussian is a parabola, so that the step is exact. The highest cell itself is taken within 2
    cells of the border, where the logarithm has no maximum, and where the step is longer than the blur's sigma.

    Args:
        kernel: side of the blur in cells, odd. Its sigma, as in OpenCV, is 2 for 11 cells; choose one near that of the
            targets.

    Raises:
        ValueError: the kernel is even or below 3.

    Reference:
        Zhang et al. 2020 and their code: floor 1e-10, derivatives over one and two cells. Their code takes every step.
    """

    kernel: int = 11

    def __post_init__(self) -> None:
        if self.kernel < 3 or self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; it is odd and at least 3")

    @property
    def sigma(self) -> float:
        """Return the standard deviation of the blur, in cells."""
        return 0.3 * ((self.kernel - 1) / 2 - 1) + 0.8

    def refine(self, heatmaps: Tensor, peak: Tensor) -> Tensor:
        log = self._blur(heatmaps).clamp(min=1e-10).log()
        x, y = peak.unbind(2)
        centre = 2 * _values_at(log, x, y)
        dx = (_values_at(log, x + 1, y) - _values_at(log, x - 1, y)) / 2
        dy = (_values_at(log, x, y + 1) - _values_at(log, x, y - 1)) / 2
        dxx = (_values_at(log, x + 2, y) - centre + _values_at(log, x - 2, y)) / 4
        dyy = (_values_at(log, x, y + 2) - centre + _values_at(log, x, y - 2)) / 4
        dxy = (
            _values_at(log, x + 1, y + 1)
            - _values_at(log, x - 1, y + 1)
            - _values_at(log, x + 1, y - 1)
            + _values_at(log, x - 1, y - 1)
        ) / 4
        determinant = dxx * dyy - dxy**2
        is_maximum = (dxx < 0) & (determinant > 0) & (_cells_to_border(heatmaps, peak) >= 2)
        determinant = torch.where(is_maximum, determinant, 1.0)
        step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], dim=2) / determinant[..., None]
        taken = is_maximum & (step.norm(dim=2) <= self.sigma)
        return peak + torch.where(taken[..., None], step, 0.0)

    def _blur(self, heatmaps: Tensor) -> Tensor:
        radius = self.kernel // 2
        taps = torch.arange(-radius, radius + 1, device=heatmaps.device, dtype=torch.float32)
        taps = torch.exp(-(taps**2) / (2 * self.sigma**2))
        taps = taps / taps.sum()
        flat = heatmaps.flatten(0, 1)[:, None]
        flat = F.conv2d(flat, taps[None, None, None, :], padding=(0, radius))
        return F.conv2d(flat, taps[None, None, :, None], padding=(radius, 0)).view_as(heatmaps)


@dataclass(frozen=True)
class SoftArgmax(Decoder):
    """A decoder that takes the centroid of a softmax in a window around the highest cell.

    Args:
        beta: inverse temperature of the softmax, for a heatmap scaled to a maximum of 1.
        radius: radius of the window in cells; a wider one would let a second person pull the joint away.

    Raises:
        ValueError: ``beta`` or ``radius`` is not positive.

    Reference:
        Sun et al. 2018 (integral regression) take the whole heatmap, which pulls joints towards its middle.
    """

    beta: float = 5.0
    radius: int = 3

    def __post_init__(self) -> None:
        if not self.beta > 0 or self.radius < 1:
            raise ValueError(f"beta is {self.beta} and radius {self.radius}; both are positive")

    def refine(self, heatmaps: Tensor, peak: Tensor) -> Tensor:
        top = heatmaps.amax((2, 3), keepdim=True)
        height, width = heatmaps.shape[2:]
        columns = torch.arange(width, device=heatmaps.device)
        rows = torch.arange(height, device=heatmaps.device)[:, None]
        x, y = (position[..., None, None] for position in peak.unbind(2))
        near = ((columns - x).abs() <= self.radius) & ((rows - y).abs() <= self.radius)
        logits = self.beta * (heatmaps - top) / top.abs().clamp(min=1e-6)
        weight = torch.softmax(logits.masked_fill(~near, -torch.inf).flatten(2), dim=2).view_as(heatmaps)
        return torch.stack([(weight * columns).sum((2, 3)), (weight * rows).sum((2, 3))], dim=2)


def _values_at(heatmaps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return values (B, K) at columns ``x`` and rows ``y`` (B, K); outside the map, those of the nearest cell."""
    height, width = heatmaps.shape[2:]
    index = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    return heatmaps.flatten(2).gather(2, index[..., None])[..., 0]


def _cells_to_border(heatmaps: Tensor, peak: Tensor) -> Tensor:
    """Return how many cells (B, K) lie between a peak and the border."""
    x, y = peak.unbind(2)
    height, width = heatmaps.shape[2:]
    return torch.stack([x, width - 1 - x, y, height - 1 - y]).amin(0)
