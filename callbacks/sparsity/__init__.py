"""The plain-torch core of sparse training: no Lightning, no logging, no files."""

from typing import TYPE_CHECKING, Any

from .analysis.curvature import hessian, hessian_vector_product, lanczos_extremes
from .analysis.flops import Flops, multiply_adds
from .analysis.flow import GradientFlow, gradient_flow
from .analysis.propagation import Signal, heterogeneous_masks, signal_propagation
from .analysis.spectrum import ExactSpectrum, LanczosSpectrum, Spectrum, SpectrumMethod
from .analysis.storage import storage_bytes
from .masks.masks import Masks
from .masks.randomness import generator_for
from .masks.selection import SparseWeight, select
from .old_names import look_up
from .rules.averages import GradientAverages
from .rules.constant_fan_in import exchange_at_constant_fan_in
from .rules.criteria import SNIP, Criterion, GraSP, OneShotMagnitude, SynFlow
from .rules.distributions import ER, ERK, Distribution, Uniform
from .rules.initialization import Initialization, KeepValues, LayerScaled, UnitScaled
from .rules.n_of_m import n_of_m
from .rules.one_shot import choose_masks, prune
from .rules.redistribution import apportion, redistribute
from .rules.schedules import (
    Constant,
    Cosine,
    Cubic,
    InversePower,
    LinearDecay,
    ProportionalToLR,
    PruningWindow,
    Schedule,
    UpdateWindow,
)
from .rules.scores import (
    GradientScore,
    InvertedScore,
    MagnitudeScore,
    RandomScore,
    SaliencyScore,
    Score,
    drop_and_grow,
    top_k,
)
from .rules.updates import drop_and_grow_per_row, prune_globally, top_per_row

__all__ = [
    "ER",
    "ERK",
    "SNIP",
    "Constant",
    "Cosine",
    "Criterion",
    "Cubic",
    "Distribution",
    "ExactSpectrum",
    "Flops",
    "GraSP",
    "GradientAverages",
    "GradientFlow",
    "GradientScore",
    "Initialization",
    "InversePower",
    "InvertedScore",
    "KeepValues",
    "LanczosSpectrum",
    "LayerScaled",
    "LinearDecay",
    "MagnitudeScore",
    "Masks",
    "OneShotMagnitude",
    "ProportionalToLR",
    "PruningWindow",
    "RandomScore",
    "SaliencyScore",
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

RENAMED = {  # old names of classes, which work for one release
    "Dense": "KeepValues",
    "Exact": "ExactSpectrum",
    "Gradient": "GradientScore",
    "Inverted": "InvertedScore",
    "Lanczos": "LanczosSpectrum",
    "Linear": "LinearDecay",
    "Magnitude": "MagnitudeScore",
    "Random": "RandomScore",
    "Saliency": "SaliencyScore",
}
FILES = ("criteria", "distributions", "initialization", "schedules", "scores", "spectrum", "updates")  # in older YAML

if not TYPE_CHECKING:  # to a type checker an old name is an error, and so is one that never was

    def __getattr__(name: str) -> Any:
        return look_up(__name__, name, RENAMED | dict.fromkeys(FILES, ""))
