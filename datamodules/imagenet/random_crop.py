"""The random part of a photo that is shown in training."""

from __future__ import annotations

import math
import random

AREAS = (0.08, 1.0)
"""The smallest and the largest share of the photo's area."""
RATIOS = (3 / 4, 4 / 3)
"""The smallest and the largest ratio of width to height."""
TRIES = 10

Box = tuple[int, int, int, int]
"""Left, top, right and bottom edge in px."""


def random_box(height: int, width: int, draws: random.Random) -> Box:
    """Return a random part of a photo; after ten that do not fit, the largest one in the centre with a usual ratio.

    The draws and their order are those of `albumentations.RandomResizedCrop`, so that both show the same parts.
    """
    for _ in range(TRIES):
        area = draws.uniform(*(share * (height * width) for share in AREAS))
        ratio = math.exp(draws.uniform(*map(math.log, RATIOS)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = int((height - h + 1) * draws.random())
            left = int((width - w + 1) * draws.random())
            return left, top, left + w, top + h
    w, h = width, height
    if width / height < RATIOS[0]:
        h = round(width / RATIOS[0])
    elif width / height > RATIOS[1]:
        w = round(height * RATIOS[1])
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
