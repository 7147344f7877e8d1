"""THE table: every sparse method, how to build it, what it promises. A row brings invariants I1 to I8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from callbacks import (
    NM,
    SET,
    SNFS,
    DynamicSparseTraining,
    GradualPruning,
    GraNet,
    MaskOwner,
    PruneAtStart,
    RigL,
    SparseGroups,
    SparseTraining,
    SRigL,
    TopKAST,
)
from callbacks.sparsity import (
    SNIP,
    Cosine,
    GradientScore,
    GraSP,
    InvertedScore,
    ProportionalToLR,
    PruningWindow,
    SaliencyScore,
    SynFlow,
    UpdateWindow,
)

WINDOW = UpdateWindow(every=4, stop=1.0)


@dataclass(frozen=True)
class Method:
    """One way to train sparsely.

    ``build(sparsity, **arguments of SparseTraining)``; ``moves``: masks change, every 4 steps;
    ``replaces_step``: the optimizer does nothing at an update; ``prunes``: weights only go, to the last step of the
    run, from none missing to the final count; ``draws``: the masks depend on the seed; ``rounds``: the neurons of a
    layer share its budget evenly, so that less than a weight a neuron is not used; ``resizes``: an update changes how
    many neurons do; ``sized``: it is built for a sparsity, not for a pattern; ``regrows``: weights come back although a
    method prunes; ``trades``: layers exchange weights, and only their sum stays; ``reservoir``: weights outside the
    mask train too, and come back with their value and optimizer state.
    """

    name: str
    build: Callable[..., MaskOwner]
    moves: bool = True
    replaces_step: bool = True
    prunes: bool = False
    draws: bool = True
    rounds: bool = False
    resizes: bool = False
    sized: bool = True
    regrows: bool = False
    trades: bool = False
    reservoir: bool = False

    def updates(self, steps: int) -> list[int]:
        """The steps of a run at which masks change."""
        every_fourth = list(range(4, steps, 4)) if self.moves else []
        return sorted({*every_fourth, steps - 1}) if self.prunes else every_fourth

    def __str__(self) -> str:
        return self.name


def moving(cls: type[DynamicSparseTraining], **fixed: Any) -> Callable[..., SparseTraining]:
    return lambda sparsity=0.8, **static: cls(
        sparsity, **{"window": WINDOW, "drop_fraction": Cosine(0.5), **fixed, **static}
    )


def pruning(**fixed: Any) -> Callable[..., SparseTraining]:
    window = PruningWindow(every=4, start=0.0, stop=1.0)
    return lambda sparsity=0.8, **static: GradualPruning(sparsity, **{"window": window, **fixed, **static})


def regrowing(initial_sparsity: float) -> Callable[..., SparseTraining]:
    def build(sparsity: float = 0.8, **static: Any) -> SparseTraining:
        window = PruningWindow(every=4, start=4, stop=1.0)
        return GraNet(sparsity, initial_sparsity=initial_sparsity, window=window, **static)

    return build


def top_kast(**fixed: Any) -> Callable[..., SparseTraining]:
    return lambda sparsity=0.8, **static: TopKAST(sparsity, **{"window": WINDOW, **fixed, **static})


def at_start(**fixed: Any) -> Callable[..., SparseTraining]:
    return lambda sparsity=0.8, **static: PruneAtStart(sparsity, **{**fixed, **static})


def fixed(name: str, draws: bool = True, **arguments: Any) -> Method:
    return Method(name, at_start(**arguments), moves=False, replaces_step=False, draws=draws)


def two_of_four(**fixed: Any) -> Callable[..., MaskOwner]:
    # of the weights of the tests' networks 4 divides the inputs of linear ones only
    def build(sparsity: float = 0.5, **static: Any) -> NM:
        return NM(2, 4, **{"include": "Linear", "drop_fraction": Cosine(0.5), **fixed, **static})

    return build


def groups(sparsity: float = 0.8, *, seed: int = 0, **static: Any) -> SparseGroups:
    first = moving(RigL)(sparsity, **{"include": "*[14].weight", "seed": seed, **static})
    return SparseGroups([first, SparseTraining(sparsity, **{"include": "*[!14].weight", "seed": seed + 1, **static})])


METHODS = [
    Method("static", SparseTraining, moves=False, replaces_step=False),
    Method("set", moving(SET)),
    Method("rigl", moving(RigL)),
    Method("rigl-steps-too", moving(RigL, update_replaces_step=False), replaces_step=False),
    Method("rigl-lr", moving(RigL, drop_fraction=ProportionalToLR(0.5))),
    Method("saliency-drop", moving(DynamicSparseTraining, drop=SaliencyScore(), grow=GradientScore())),
    Method("rigl-inverted", moving(DynamicSparseTraining, grow=InvertedScore(GradientScore()))),
    Method("srigl", moving(SRigL, gamma=0.7), rounds=True, resizes=True),
    Method("srigl-no-ablation", moving(SRigL, ablation=False), rounds=True),
    Method("nm", two_of_four(window=WINDOW), sized=False),
    Method("nm-fixed", two_of_four(fixed=True), moves=False, replaces_step=False, sized=False),
    Method("groups", groups),
    Method("rigl-accumulates", moving(RigL, gradient_steps=3)),
    Method("snfs", moving(SNFS), trades=True),
    Method("snfs-by-layer", moving(SNFS, redistribute=False)),
    Method("top-kast", top_kast(exploration=0.3), replaces_step=False, draws=False, reservoir=True),
    Method("granet", regrowing(0.5), replaces_step=False, prunes=True, regrows=True),
    Method("granet-dense", regrowing(0.0), replaces_step=False, prunes=True, regrows=True, draws=False),
    Method("gmp", pruning(), replaces_step=False, prunes=True, draws=False),
    Method("gmp-global", pruning(scope="global", score=SaliencyScore()), replaces_step=False, prunes=True, draws=False),
    fixed("magnitude-at-start", draws=False),
    fixed("snip", criterion=SNIP(), batches=2),
    fixed("snip-layer", criterion=SNIP(), scope="layer"),
    fixed("grasp", criterion=GraSP(), scope="layer"),
    fixed("synflow", draws=False, criterion=SynFlow(iterations=10)),
]
MOVING = [method for method in METHODS if method.moves]
