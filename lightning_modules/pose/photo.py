"""The crop of a photo that a pose network looks at, in plain torch; the data modules crop by the same map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Box = Sequence[float]
MARGIN = 1.25  # side of the crop over the longer side of the box, as for training


def square_around(box: Box | None, height: int, width: int) -> tuple[float, float, float]:
    """Return centre (x, y) and side, in px, of the square around a person's box or around the whole photo.

    Args:
        box: left, top, right, bottom in px; None for the whole photo.
        height: height of the photo, px.
        width: width of the photo, px.

    Raises:
        ValueError: the box is empty, not finite, or does not meet the photo.
    """
    if box is None:
        return (width - 1) / 2, (height - 1) / 2, float(max(height, width))
    if len(box) != 4 or not all(torch.tensor(box, dtype=torch.float64).isfinite()):
        raise ValueError(f"box is {tuple(box)}; give left, top, right, bottom in px")
    left, top, right, bottom = map(float, box)
    if not (left < right and top < bottom):
        raise ValueError(f"box is {tuple(box)}, which is empty; give left < right and top < bottom in px")
    if right < 0 or bottom < 0 or left > width - 1 or top > height - 1:
        raise ValueError(f"box is {tuple(box)}, outside the photo of {width} x {height} px")
    return (left + right) / 2, (top + bottom) / 2, MARGIN * max(right - left, bottom - top)


def crop(photo: Tensor, box: Box | None, size: int) -> tuple[Tensor, Tensor]:
    """Cut the square around a box out of a photo, and return with it the affine map from its px to those of the photo.

    Args:
        photo: uint8 (H, W, 3), or (H, W) in grey.
        box: the person's box, as for :func:`square_around`.
        size: side of the result, px.

    Returns:
        The crop, float32 (1, 3, size, size) in [-1, 1], black outside the photo, and the map, float32 (2, 3).

    Raises:
        ValueError: the photo is empty or of another shape or type, or :func:`square_around` refuses the box.

    Example:
        >>> image, to_photo = crop(torch.full((40, 20, 3), 255).byte(), None, 8)
        >>> image[0, 0, 4], to_photo
        (tensor([-1., -1.,  1.,  1.,  1.,  1., -1., -1.]), tensor([[ 5.,  0., -8.],
                [ 0.,  5.,  2.]]))
    """
    if (
        photo.dtype != torch.uint8
        or photo.dim() not in (2, 3)
        or photo.numel() == 0
        or photo.shape[2:] not in ((), (3,))
    ):
        raise ValueError(
            f"the photo is {photo.dtype} of shape {tuple(photo.shape)}; give uint8 (H, W, 3) in RGB or (H, W) in grey"
        )
    x, y, side = square_around(box, photo.shape[0], photo.shape[1])
    pixels = (photo if photo.dim() == 3 else photo[:, :, None].expand(-1, -1, 3)).permute(2, 0, 1)[None].float() / 255
    factor = max(1, min(int(side / size), *photo.shape[:2]))
    if factor > 1:  # average whole pixels first: sampled alone, a large photo would have gaps
        pixels = F.avg_pool2d(pixels, factor, ceil_mode=True)
    height, width = pixels.shape[2:]
    near_x, near_y, near_side = (x - (factor - 1) / 2) / factor, (y - (factor - 1) / 2) / factor, side / factor
    steps = (torch.arange(size, device=photo.device) - (size - 1) / 2) * (near_side / size)
    columns, rows = ((2 * (steps + c) + 1) / n - 1 for c, n in ((near_x, width), (near_y, height)))
    grid = torch.stack([columns.expand(size, size), rows[:, None].expand(size, size)], dim=2)[None]
    image = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    scale, middle = side / size, (size - 1) / 2
    to_photo = pixels.new_tensor([[scale, 0, x - scale * middle], [0, scale, y - scale * middle]])
    return 2 * image - 1, to_photo


def map_points(points: Tensor, matrix: Tensor) -> Tensor:
    """Map points (..., K, 2) by an affine map (..., 2, 3)."""
    # a matrix product would be rounded to a whole pixel under autocast
    return (points[..., None, :] * matrix[..., None, :, :2]).sum(-1) + matrix[..., None, :, 2]
