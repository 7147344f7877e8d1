"""PoseAugmentation: the variation of training poses, in where the crop lies and what happens to its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..files.photos import Photo
from ..loading.transforms import Transform, apply_transform, import_albumentations
from .crop import Bools, Floats, person_box
from .skeletons import Skeleton

HALF_BODY_MARGIN = 1.5
HALF_BODY_JOINTS = 3


@dataclass(frozen=True)
class PoseAugmentation:
    """Random turns, sizes, mirror images, halves, colours, blur and holes; the geometry stays one affine map.

    Attributes:
        rotation: standard deviation in degrees of a normal distribution, cut off at twice that.
        rotation_p: share of people that are turned at all.
        scale: standard deviation of the factor 1 + N(0, scale) on the person's size, cut off at one.
        flip: share of people that are mirrored.
        half_body: share of people of whom only one half, upper or lower, fills the crop; people with fewer
            than 3 labelled joints in the half drawn stay whole.
        colour: share with other brightness and contrast, and share with shifted channels.
        blur: share that is blurred.
        dropout: share with 1 to 4 black rectangles, each side 5 to 20 % of the crop.

    Raises:
        ValueError: a share is outside [0, 1], `rotation` outside [0, 90] or `scale` outside [0, 1).

    Reference:
        Rotation, scale and flip are those of HRNet and SimpleBaseline. HRNet draws the upper half 69 % of
        the time, by an oversight; here it is one half.
    """

    rotation: float = 30.0
    rotation_p: float = 0.6
    scale: float = 0.25
    flip: float = 0.5
    half_body: float = 0.0
    colour: float = 0.5
    blur: float = 0.1
    dropout: float = 0.3

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("rotation_p", "flip", "half_body", "colour", "blur", "dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; pass a share from 0 to 1")
        if not 0 <= self.rotation <= 90:
            raise ValueError(f"rotation is {self.rotation}; pass degrees from 0 to 90")
        if not 0 <= self.scale < 1:
            raise ValueError(f"scale is {self.scale}; pass 0 or more, and less than 1")

    def draw_geometry(
        self, box: Floats, joints: Floats, visible: Bools, skeleton: Skeleton, generator: np.random.Generator
    ) -> tuple[Floats, float, bool]:
        """Draw the box, the angle in degrees and whether to mirror, for `map_to_crop`.

        Args:
            box: centre x, centre y and side of the person's crop.
            joints: (K, 2) in px of the photo.
            visible: (K,), which of them are labelled.
            skeleton: tells which joints are in the lower half of the body.
            generator: decides everything.
        """
        turned, mirrored, halved, upper = generator.random(4) < (self.rotation_p, self.flip, self.half_body, 0.5)
        angle, factor = generator.standard_normal(2)
        if halved:
            box = _half_body_box(box, joints, visible, skeleton, upper=bool(upper))
        zoom = 1 + float(np.clip(self.scale * factor, -self.scale, self.scale))
        degrees = float(np.clip(angle, -2, 2)) * self.rotation if turned else 0.0
        return np.array([box[0], box[1], box[2] / zoom]), degrees, bool(mirrored)

    def recolour(self, crop: Photo, generator: np.random.Generator) -> Photo:
        """Change the pixels of a crop, never where anything is."""
        if not self.colour + self.blur + self.dropout:
            return crop
        transform = _recolouring(self.colour, self.blur, self.dropout)
        return np.asarray(apply_transform(transform, crop, generator), np.uint8)


@cache
def _recolouring(colour: float, blur: float, dropout: float) -> Transform:
    """Return the transform of pixels; no attribute, as the command line takes those for arguments."""
    A = import_albumentations()  # noqa: N806  # as everyone calls it
    transform: Transform = A.Compose(
        [
            A.RandomBrightnessContrast(p=colour),
            A.RGBShift(p=colour),
            A.Blur((3, 5), p=blur),
            A.CoarseDropout((1, 4), (0.05, 0.2), (0.05, 0.2), p=dropout),
        ]
    )
    return transform


def _half_body_box(box: Floats, joints: Floats, visible: Bools, skeleton: Skeleton, *, upper: bool) -> Floats:
    chosen = visible.copy()
    legs = list(skeleton.legs)
    if upper:
        chosen[legs] = False
    else:
        chosen &= np.isin(np.arange(len(chosen)), legs)
    if chosen.sum() < HALF_BODY_JOINTS or not np.ptp(joints[chosen], axis=0).any():
        return box
    x, y, side = person_box(joints, chosen, HALF_BODY_MARGIN)
    return np.array([x, y, max(side, 0.4 * box[2])])
