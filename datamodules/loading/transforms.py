"""Albumentations transforms: imported when they are needed, and drawn from counters."""

from __future__ import annotations

import os
import random
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np


class Transform(Protocol):
    """The part of an albumentations transform that is used here, be it a single one or a `Compose`."""

    def set_random_state(self, random_generator: np.random.Generator, py_random: random.Random, /) -> None:
        """Take the generators that decide the following calls."""

    def __call__(self, *, image: np.ndarray) -> dict[str, Any]:
        """Return a dict with the "image", uint8 (height, width, 3), made of one like it."""


def apply_transform(transform: Transform, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return what a transform makes of an image when a generator decides everything."""
    # Not set_random_seed: it seeds all transforms of a Compose alike, so that they would act on the same images.
    transform.set_random_state(generator, random.Random(int(generator.integers(2**63))))
    return cast(np.ndarray, transform(image=image)["image"])


def import_albumentations() -> ModuleType:
    """Return albumentations, imported when it is needed: it takes seconds, which other data sets need not wait."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks the network
    import albumentations  # type: ignore[import-untyped]

    return cast(ModuleType, albumentations)
