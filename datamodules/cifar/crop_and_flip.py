"""The usual augmentation of CIFAR, for a whole batch at once, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

PADDING = 4


def crop_and_flip(images: Tensor, bits: Tensor, fill: Tensor) -> Tensor:
    """Pad every side by 4 px, cut out a random part of the old size, and mirror half of the images.

    Args:
        images: (B, C, height, width).
        bits: int64 (B,), decides all; see `counters.random_bits`.
        fill: (C,), what the padding shows.

    Returns:
        Images like those given.

    Reference:
        He et al., "Deep residual learning for image recognition", 2016, section 4.2.
    """
    count, channels, height, width = images.shape
    padded = fill.to(images)[:, None, None].expand(count, channels, height + 2 * PADDING, width + 2 * PADDING).clone()
    padded[..., PADDING:-PADDING, PADDING:-PADDING] = images
    # 24 bits for each shift, so that no one of the nine is preferred by more than one in a million
    down, right = (((bits >> start & 2**24 - 1) * (2 * PADDING + 1) >> 24)[:, None] for start in (0, 24))
    mirrored = (bits >> 48 & 1).bool()[:, None]
    rows, columns = torch.arange(height, device=bits.device), torch.arange(width, device=bits.device)
    rows, columns = rows + down, torch.where(mirrored, width - 1 - columns, columns) + right
    pixels = (rows * (width + 2 * PADDING))[:, :, None] + columns[:, None, :]
    pixels = pixels.view(count, 1, -1).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, pixels).view(images.shape)
