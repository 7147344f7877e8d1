"""The plain-torch core of sparse training: no Lightning, no logging, no files."""

from .averages import GradientAverages
from .constant_fan_in import exchange_at_constant_fan_in
from .criteria import SNIP, Criterion, GraSP, OneShotMagnitude, SynFlow
from .curvature import hessian, hessian_vector_product, lanczos_extremes
from .distributions import ER, ERK, Distribution, Uniform
from .flops import Flops, multiply_adds
from .flow import GradientFlow, gradient_flow
from .initialization import Dense, Initialization, LayerScaled, UnitScaled
from .masks import Masks
from .n_of_m import n_of_m
from .one_shot import choose_masks, prune
from .propagation import Signal, heterogeneous_masks, signal_propagation
from .randomness import generator_for
from .redistribution import apportion, redistribute
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
from .scores import Gradient, Inverted, Magnitude, Random, Saliency, Score, drop_and_grow, top_k
from .selection import SparseWeight, select
from .spectrum import Exact, Lanczos, Spectrum, SpectrumMethod
from .storage import storage_bytes
from .updates import drop_and_grow_per_row, prune_globally, top_per_row

__all__ = [
    "ER",
    "ERK",
    "SNIP",
    "Constant",
    "Cosine",
    "Criterion",
    "Cubic",
    "Dense",
    "Distribution",
    "Exact",
    "Flops",
    "GraSP",
    "Gradient",
    "GradientAverages",
    "GradientFlow",
    "Initialization",
    "InversePower",
    "Inverted",
    "Lanczos",
    "LayerScaled",
    "Linear",
    "Magnitude",
    "Masks",
    "OneShotMagnitude",
    "ProportionalToLR",
    "PruningWindow",
    "Random",
    "Saliency",
    "Schedule",
    "Score",
    "Signal",
    "SparseWeight",
    "Spectrum",
    "SpectrumMethod",
    "SynFlow",
    "Uniform",
    "UnitScaled",
    "UpdateWindow",
    "apportion",
    "choose_masks",
    "drop_and_grow",
    "drop_and_grow_per_row",
    "exchange_at_constant_fan_in",
    "generator_for",
    "gradient_flow",
    "hessian",
    "hessian_vector_product",
    "heterogeneous_masks",
    "lanczos_extremes",
    "multiply_adds",
    "n_of_m",
    "prune",
    "prune_globally",
    "redistribute",
    "select",
    "signal_propagation",
    "storage_bytes",
    "top_k",
    "top_per_row",
]
