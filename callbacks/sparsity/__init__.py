"""The plain-torch core of sparse training: no Lightning, no logging, no files."""

from .analysis.curvature import hessian, hessian_vector_product, lanczos_extremes
from .analysis.flops import Flops, multiply_adds
from .analysis.flow import GradientFlow, gradient_flow
from .analysis.propagation import Signal, heterogeneous_masks, signal_propagation
from .analysis.spectrum import Exact, Lanczos, Spectrum, SpectrumMethod
from .analysis.storage import storage_bytes
from .masks.masks import Masks
from .masks.randomness import generator_for
from .masks.selection import select
from .masks.sparse_weight import SparseWeight
from .rules.averages import GradientAverages
from .rules.constant_fan_in import exchange_at_constant_fan_in
from .rules.criteria import SNIP, Criterion, GraSP, OneShotMagnitude, SynFlow
from .rules.distributions import ER, ERK, Distribution, Uniform
from .rules.initialization import Dense, Initialization, LayerScaled, UnitScaled
from .rules.n_of_m import n_of_m
from .rules.one_shot import choose_masks, prune
from .rules.redistribution import apportion, redistribute
from .rules.schedules import (
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
from .rules.scores import Gradient, Inverted, Magnitude, Random, Saliency, Score, drop_and_grow, top_k
from .rules.updates import drop_and_grow_per_row, prune_globally, top_per_row

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
