"""Heatmaps of joints: targets, mirror images and the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .protocols import check_mirror


def encode(
    joints: Tensor, visible: Tensor, size: tuple[int, int], *, stride: int = 4, sigma: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Draw a Gaussian of height 1 at every joint, without rounding its position, and say which joints count.

    Cell i of stride s is centred at px s * i + (s - 1) / 2, in the middle of the s x s pixels that it stands for.

    Args:
        joints: (B, K, 2) px; joints that are not ``visible`` may hold any value, NaN too.
        visible: (B, K) bool, True where a joint is annotated.
        size: height h and width w of the heatmaps, in cells.
        stride: pixels along the side of a cell.
        sigma: standard deviation of the Gaussians, in cells.

    Returns:
        Heatmaps (B, K, h, w) and weights (B, K), float32. The weight is 1 for a joint that is visible, finite and at
        most 3 sigma outside the outer cell centres, else 0; a heatmap of weight 0 is finite, but means nothing.

    Raises:
        ValueError: shapes do not fit, or a size, stride or sigma is not positive.

    Example:
        >>> heatmaps, weights = encode(torch.tensor([[[5.5, 1.5]]]), torch.tensor([[True]]), (2, 3), sigma=1.0)
        >>> heatmaps, weights
        (tensor([[[[0.6065, 1.0000, 0.6065],
                  [0.3679, 0.6065, 0.3679]]]]), tensor([[1.]]))
    """
    _check_targets(joints, visible, size, stride, sigma)
    centres = (joints.float() - (stride - 1) / 2) / stride
    return _gaussians(centres, visible, size, sigma, reach=math.inf)


def encode_legacy(
    joints: Tensor, visible: Tensor, size: tuple[int, int], *, stride: int = 4, sigma: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Draw heatmaps as HRNet and SimpleBaseline do, to reproduce their numbers.

    A joint is rounded to cell int(px / stride + 0.5), and its Gaussian is cut off at 3 sigma. Only
    :class:`QuarterOffset` decodes these heatmaps. Arguments, results and errors are those of :func:`encode`.

    Reference:
        ``generate_target`` in the code of Sun et al. 2019. There a joint 3 sigma + 1 cells left of the map or above it
        counts, with an empty heatmap; here it does not count.
    """
    _check_targets(joints, visible, size, stride, sigma)
    centres = (joints.float() / stride + 0.5).trunc()
    return _gaussians(centres, visible, size, sigma, reach=3 * sigma)


def _check_targets(joints: Tensor, visible: Tensor, size: tuple[int, int], stride: int, sigma: float) -> None:
    if joints.dim() != 3 or joints.shape[2] != 2 or visible.shape != joints.shape[:2]:
        shapes = f"joints and visible have shapes {tuple(joints.shape)} and {tuple(visible.shape)}"
        raise ValueError(f"{shapes}; they are (B, K, 2) and (B, K)")
    if visible.dtype != torch.bool:
        raise ValueError(f"visible is {visible.dtype}; it is bool, true where a joint is annotated")
    if min(size) < 1 or stride < 1 or not 0 < sigma < math.inf:
        raise ValueError(f"size is {tuple(size)}, stride {stride} and sigma {sigma}; all are positive")


def _gaussians(
    centres: Tensor, visible: Tensor, size: tuple[int, int], sigma: float, reach: float
) -> tuple[Tensor, Tensor]:
    counts = visible
    for axis, cells in ((0, size[1]), (1, size[0])):
        counts = counts & (centres[..., axis] >= -3 * sigma) & (centres[..., axis] <= cells - 1 + 3 * sigma)
    centres = torch.where(counts[..., None], centres, 0.0)
    columns, rows = (
        _profile(torch.arange(cells, device=centres.device) - centres[..., axis, None], sigma, reach)
        for axis, cells in ((0, size[1]), (1, size[0]))
    )
    return rows[..., :, None] * columns[..., None, :], counts.float()


def _profile(distance: Tensor, sigma: float, reach: float) -> Tensor:
    return torch.exp(-(distance**2) / (2 * sigma**2)) * (distance.abs() <= reach)


def mirror_heatmaps(heatmaps: Tensor, mirror: Sequence[int]) -> Tensor:
    """Return the heatmaps of the mirror image: columns reversed, left and right joints exchanged.

    Mirroring twice gives the heatmaps back. A flip test averages a network's heatmaps with the mirrored heatmaps of
    the mirrored image. Since cells are aligned to pixels, nothing has to be shifted.

    Args:
        heatmaps: (B, K, h, w).
        mirror: for each joint the number of its mirror image, which for the neck or the head is its own.

    Raises:
        ValueError: ``mirror`` is not K numbers that lead back to where they came from.
    """
    check_mirror(mirror, heatmaps.shape[1])
    return torch.stack([heatmaps[:, other] for other in mirror], dim=1).flip(-1)


def heatmap_loss(
    levels: Sequence[Tensor],
    joints: Tensor,
    visible: Tensor,
    *,
    strides: Sequence[int] = (16, 8, 4),
    sigmas: Sequence[float] = (1.0, 1.5, 2.0),
) -> Tensor:
    """Return the squared error against :func:`encode`'s heatmaps, in units of a target's energy, summed over levels.

    A joint's error is summed over cells and divided by pi * sigma ** 2, the sum of the squares of a Gaussian that is
    wholly in view: heatmaps of zeros cost about 1 a level, whatever its resolution. A level's loss is the mean over
    all joints of weight 1; without such joints it is 0, and so are its gradients.

    Args:
        levels: heatmaps (B, K, h, w) of each level.
        joints: (B, K, 2) px.
        visible: (B, K) bool, True where a joint is annotated.
        strides: pixels along the side of a cell, for each level.
        sigmas: standard deviation of the targets in cells, for each level.

    Raises:
        ValueError: there are not as many levels as strides and sigmas, or shapes do not fit.

    Reference:
        This loss is ours. With the usual mean over cells, a level of twice the resolution and the same sigma would
        weigh a quarter.
    """
    if not len(levels) == len(strides) == len(sigmas) or not levels:
        raise ValueError(
            f"there are {len(levels)} levels, {len(strides)} strides and {len(sigmas)} sigmas: as many of each"
        )
    images = {(stride * level.shape[2], stride * level.shape[3]) for level, stride in zip(levels, strides, strict=True)}
    if len(images) > 1:
        raise ValueError(
            f"with strides {tuple(strides)} the levels are of images of {sorted(images)} px: order both alike"
        )
    total = levels[0].new_zeros((), dtype=torch.float32)
    for heatmaps, stride, sigma in zip(levels, strides, sigmas, strict=True):
        if heatmaps.shape[:2] != visible.shape:
            raise ValueError(f"heatmaps and visible have shapes {tuple(heatmaps.shape)} and {tuple(visible.shape)}")
        size = (heatmaps.shape[2], heatmaps.shape[3])
        targets, weights = encode(joints, visible, size, stride=stride, sigma=sigma)
        error = (heatmaps.float() - targets).square().sum((2, 3)) / (math.pi * sigma**2)
        total = total + (weights * error).sum() / weights.sum().clamp(min=1)
    return total
