"""The plain-torch core of sparse training: no Lightning, no logging, no files."""

from typing import TYPE_CHECKING, Any

from .analysis.curvature import hessian
from .analysis.flops import Flops, multiply_adds
from .analysis.flow import gradient_flow
from .analysis.propagation import signal_propagation
from .analysis.spectrum import ExactSpectrum, LanczosSpectrum, Spectrum, SpectrumMethod
from .analysis.storage import storage_bytes
from .masks.masks import Masks
from .masks.randomness import generator_for
from .masks.selection import select
from .masks.sparse_weight import SparseWeight
from .old_names import look_up
from .rules.criteria import SNIP, Criterion, GraSP, OneShotMagnitude, SynFlow
from .rules.distributions import ER, ERK, Distribution, Uniform
from .rules.initialization import Initialization, KeepValues, LayerScaled, UnitScaled
from .rules.one_shot import prune
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
)
from .rules.top_k import top_k
from .rules.updates import drop_and_grow

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
    "SparseWeight",
    "Spectrum",
    "SpectrumMethod",
    "SynFlow",
    "Uniform",
    "UnitScaled",
    "UpdateWindow",
    "drop_and_grow",
    "generator_for",
    "gradient_flow",
    "hessian",
    "multiply_adds",
    "prune",
    "select",
    "signal_propagation",
    "storage_bytes",
    "top_k",
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
HIDDEN = {  # what only the package itself uses, and where it is
    "GradientAverages": "rules.averages",
    "GradientFlow": "analysis.flow",
    "Signal": "analysis.propagation",
    "apportion": "rules.redistribution",
    "choose_masks": "rules.one_shot",
    "drop_and_grow_per_row": "rules.updates",
    "exchange_at_constant_fan_in": "rules.constant_fan_in",
    "heterogeneous_masks": "analysis.propagation",
    "hessian_vector_product": "analysis.curvature",
    "lanczos_extremes": "analysis.curvature",
    "n_of_m": "rules.n_of_m",
    "prune_globally": "rules.updates",
    "redistribute": "rules.redistribution",
    "top_per_row": "rules.updates",
}
FILES = ("criteria", "distributions", "initialization", "schedules", "scores", "spectrum", "updates")  # in older YAML

if not TYPE_CHECKING:  # to a type checker an old name is an error, and so is one that never was

    def __getattr__(name: str) -> Any:
        hidden = {old: f"{module}.{old}" for old, module in HIDDEN.items()}
        return look_up(__name__, name, RENAMED | hidden | dict.fromkeys(FILES, ""))
