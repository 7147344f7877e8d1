"""The plain-torch core of sparse training: no Lightning, no logging, no files."""

from .distributions import ER, ERK, Distribution, Uniform
from .flow import GradientFlow, gradient_flow
from .initialization import Dense, Initialization, LayerScaled, UnitScaled
from .masks import Masks
from .randomness import generator_for
from .schedules import (
    Constant,
    Cosine,
    Cubic,
    InversePower,
    Linear,
    ProportionalToLR,
    PruningWindow,
    Schedule,
    UpdateWindow,
)
from .scores import Gradient, Inverted, Magnitude, Random, Saliency, Score
from .selection import SparseWeight, select
from .updates import drop_and_grow, prune_globally, prune_to_count, top_k

__all__ = [
    "ER",
    "ERK",
    "Constant",
    "Cosine",
    "Cubic",
    "Dense",
    "Distribution",
    "Gradient",
    "GradientFlow",
    "Initialization",
    "InversePower",
    "Inverted",
    "LayerScaled",
    "Linear",
    "Magnitude",
    "Masks",
    "ProportionalToLR",
    "PruningWindow",
    "Random",
    "Saliency",
    "Schedule",
    "Score",
    "SparseWeight",
    "Uniform",
    "UnitScaled",
    "UpdateWindow",
    "drop_and_grow",
    "generator_for",
    "gradient_flow",
    "prune_globally",
    "prune_to_count",
    "select",
    "top_k",
]
