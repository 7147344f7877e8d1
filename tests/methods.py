"""THE table: every sparse method, how to build it, what it promises. A row brings invariants I1 to I8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from callbacks import SET, DynamicSparseTraining, RigL, SparseTraining
from callbacks.sparsity import Cosine, Gradient, ProportionalToLR, Saliency, UpdateWindow

WINDOW = UpdateWindow(every=4, stop=1.0)


@dataclass(frozen=True)
class Method:
    """One way to train sparsely.

    ``build(sparsity, **arguments of SparseTraining)``; ``moves``: masks change, every 4 steps;
    ``replaces_step``: the optimizer does nothing at an update.
    """

    name: str
    build: Callable[..., SparseTraining]
    moves: bool = True
    replaces_step: bool = True

    def __str__(self) -> str:
        return self.name


def moving(cls: type[DynamicSparseTraining], **fixed: Any) -> Callable[..., SparseTraining]:
    return lambda sparsity=0.8, **static: cls(
        sparsity, **{"window": WINDOW, "drop_fraction": Cosine(0.5), **fixed, **static}
    )


METHODS = [
    Method("static", SparseTraining, moves=False, replaces_step=False),
    Method("set", moving(SET)),
    Method("rigl", moving(RigL)),
    Method("rigl-steps-too", moving(RigL, update_replaces_step=False), replaces_step=False),
    Method("rigl-lr", moving(RigL, drop_fraction=ProportionalToLR(0.5))),
    Method("saliency-drop", moving(DynamicSparseTraining, drop=Saliency(), grow=Gradient())),
]
MOVING = [method for method in METHODS if method.moves]
