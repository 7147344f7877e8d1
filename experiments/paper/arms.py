"""The arms of the paper's LeNet-5 study: what is trained, from which weights, under which masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from callbacks import SET, DynamicSparseTraining, GradualPruning, MaskOwner, RigL, SparseTraining
from callbacks.sparsity import (
    GradientScore,
    Initialization,
    InvertedScore,
    KeepValues,
    LayerScaled,
    ProportionalToLR,
    PruningWindow,
    UnitScaled,
    UpdateWindow,
)
from lightning_modules.networks import LeNet5

SPARSITY = 0.95
STEPS = 11_719  # 25 epochs of batch 128
TICKETS = 5

METHODS: dict[str, Callable[..., MaskOwner]] = {
    "scratch": SparseTraining,
    "set": partial(SET, drop_fraction=ProportionalToLR(0.3), window=UpdateWindow(100, stop=1.0)),
    "rigl": partial(RigL, drop_fraction=ProportionalToLR(0.3), window=UpdateWindow(100, stop=1.0)),
    "rigl-inverted": partial(
        DynamicSparseTraining,
        grow=InvertedScore(GradientScore()),
        drop_fraction=ProportionalToLR(0.3),
        window=UpdateWindow(100, stop=1.0),
    ),
}
INITIALIZATIONS: dict[str, Initialization] = {"dense": KeepValues(), "liu": LayerScaled(), "unit": UnitScaled()}


@dataclass(frozen=True)
class Arm:
    """Runs that differ in their seed alone.

    Args:
        name: the name in the results; also the folder.
        masks: the pruned run (its seed) whose final masks are used; None without given masks.
        weights: ``fresh`` weights for every seed; the ``same`` fresh weights for all seeds, which then differ in
            data order alone; or those of the pruned run at its ``start`` (a lottery ticket) or ``end``.
        method: makes the owner of the masks; None trains densely.
        network: what is trained.
        spectra: measure the Hessian before and after the mask updates at these steps, and stop after the last.
        seeds: the greatest number of runs; None for that of the study.
    """

    name: str
    masks: int | None = None
    weights: Literal["fresh", "same", "start", "end"] = "fresh"
    method: Callable[..., MaskOwner] | None = None
    network: Callable[[], Any] = LeNet5
    spectra: tuple[int, ...] = ()
    seeds: int | None = None


def gradual_pruning(**arguments: Any) -> GradualPruning:
    """Prune at the steps 3,000 to 7,000 of 11,719, every 100; as fractions, so that a short study prunes, too."""
    return GradualPruning(SPARSITY, window=PruningWindow(100, start=3000 / STEPS, stop=7000 / STEPS), **arguments)


def with_masks(method: str, initialization: str) -> Callable[..., MaskOwner]:
    return partial(METHODS[method], SPARSITY, initialization=INITIALIZATIONS[initialization])


PRUNED = Arm("pruned", method=gradual_pruning)
ARMS = [
    PRUNED,
    *(  # tickets differ more than the runs of one ticket do
        Arm(f"lottery-{ticket}", ticket, "start", with_masks("scratch", "dense"), seeds=3 if ticket else None)
        for ticket in range(TICKETS)
    ),
    *(
        Arm(f"{method}-{initialization}", 0, "fresh", with_masks(method, initialization))
        for initialization in ("unit", "dense", "liu")
        for method in ("rigl", "set", "scratch")
    ),
    Arm("dense"),
    Arm("scratch-same-init", 0, "same", with_masks("scratch", "unit")),
    Arm("prune-restart", 0, "end", with_masks("scratch", "dense")),
    Arm("small-dense", network=partial(LeNet5, LeNet5.SMALL_DENSE)),
    Arm("rigl-inverted-unit", 0, "fresh", with_masks("rigl-inverted", "unit"), seeds=1),
    *(
        Arm(f"{method}-hessian", 0, "fresh", with_masks(method, "unit"), spectra=(100, 300, 500, 1000), seeds=1)
        for method in ("rigl", "set", "rigl-inverted")
    ),
]
