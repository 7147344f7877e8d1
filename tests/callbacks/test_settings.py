"""Settings, which ranks compare: equal wherever the arguments are, whatever is not an argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from fits import TinyModule, fit, loader, trainer
from methods import METHODS, Method
from torch import nn

from callbacks import (
    NM,
    DynamicSparseTraining,
    GradualPruning,
    HessianSpectrum,
    LotteryTicket,
    MaskOwner,
    PruneAtStart,
    RigL,
    SparseGroups,
    SparseTraining,
    SRigL,
    Ticket,
)
from callbacks.lottery.iterative_pruning import IterativePruning
from callbacks.lottery.ticket import TicketOwner
from callbacks.settings import described, rewritten, settings
from callbacks.sparsity import SNIP, GradientScore, InvertedScore, LanczosSpectrum, Masks, PruningWindow, UpdateWindow
from callbacks.sparsity.analysis.spectrum import SpectrumMethod


class OnDevice(TinyModule):
    """Shows a device, as a ParameterList on a GPU does."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device_name = device

    def extra_repr(self) -> str:
        return f"(0): Parameter containing: [torch.float32 of size 3 ({self.device_name})]"

    def loss(self, module: nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
        return nn.functional.cross_entropy(module(batch[0]), batch[1])


class Plain:
    """An object without a repr of its own."""

    def __call__(self, *arguments: object) -> None: ...


class Elsewhere(Plain):
    """An object that shows where it is."""

    def __init__(self, device: str) -> None:
        self.device = device

    def __repr__(self) -> str:
        return f"Elsewhere(device={self.device})"


class Bare(SpectrumMethod):
    """Without a repr of its own."""

    def __call__(self, loss, parameters, masks=None, *, progress=None): ...


def short(callbacks: list[pl.Callback], folder: Path) -> pl.Trainer:
    return trainer(callbacks, max_steps=1, enable_checkpointing=True)


def function() -> Callable[..., None]:
    def same(*arguments: object) -> None: ...

    return same


def ticket(weights: torch.Tensor) -> Ticket:
    return Ticket(1, "weights", Masks({"fc": torch.ones(9) > 0}), {"fc": weights}, path="ticket.ckpt")


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_fit_adds_nothing(method: Method) -> None:
    owner, fresh = method.build(), method.build()
    fit(TinyModule(), [owner], max_steps=6)
    assert settings(owner) == settings(fresh)


@pytest.mark.parametrize("build", [lambda: RigL(0.8), lambda: SparseGroups([RigL(0.8)])])
def test_modules_that_show_their_devices_do_not_differ(build: Callable[[], MaskOwner]) -> None:
    ranks = [build(), build()]
    for rank, owner in enumerate(ranks):
        fit(OnDevice(f"cuda:{rank}"), [owner], max_steps=1)
    assert settings(ranks[0]) == settings(ranks[1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (function(), function()),
        (partial(function(), 1, x=function()), partial(function(), 1, x=function())),
        (OnDevice("cuda:0").loss, OnDevice("cuda:1").loss),
        (OnDevice("cuda:0"), OnDevice("cuda:1")),
        (Plain(), Plain()),
        (Elsewhere("cuda:0"), Elsewhere("cuda:1")),
        (torch.device("cuda:0"), torch.device("cuda:1")),
    ],
)
def test_arguments_of_two_ranks_read_alike(one: object, other: object) -> None:
    assert repr(one) != repr(other), "otherwise this tests nothing"
    zero, first = (PruneAtStart(criterion=SNIP(), loss=loss, batches=[loss]) for loss in (one, other))
    assert settings(zero) == settings(first)


def test_the_order_of_a_set_means_nothing() -> None:
    one, other = {0, 8}, {8, 0}
    assert repr(one) != repr(other), "otherwise this tests nothing"
    assert described({"a": one}) == described({"a": other})
    assert described(frozenset(one)) == described(frozenset(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (RigL(0.8), RigL(0.8, seed=1)),
        (RigL(0.8, window=UpdateWindow(3)), RigL(0.8, window=UpdateWindow(4))),
        (SparseTraining(include={"a", "b"}), SparseTraining(include={"a", "c"})),
        tuple(SparseTraining(masks_from=Masks({"a": torch.arange(3) > first})) for first in (0, 1)),
        (PruneAtStart(batches=[torch.zeros(2000)]), PruneAtStart(batches=[torch.arange(2000) == 1000])),
        (PruneAtStart(loss=OnDevice.loss), PruneAtStart(loss=OnDevice.extra_repr)),
        (TicketOwner(ticket(torch.zeros(2000))), TicketOwner(ticket(1.0 * (torch.arange(2000) == 1000)))),
        (SparseGroups([RigL(0.8)]), SparseGroups([RigL(0.8, seed=1)])),
    ],
)
def test_other_arguments_differ(one: MaskOwner, other: MaskOwner) -> None:
    assert settings(one) != settings(other)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_rules_read_as_their_repr_so_that_folders_of_lotteries_stay_known(method: Method) -> None:
    for part in method.build().parts:
        rules = {name: value for name, value in vars(part.method).items() if is_dataclass(value)}
        assert rules
        assert {name: described(rule) for name, rule in rules.items()} == {n: repr(rule) for n, rule in rules.items()}


def test_a_lottery_knows_its_folder_whatever_the_order_of_a_set(tmp_path: Path) -> None:
    patterns = [f"*{'*' * stars}weight" for stars in range(99)]  # some of many change places
    one, other = next((a, b) for a, b in combinations(patterns, 2) if list({a, b}) != list({b, a}))
    orders = ({one, other}, {other, one})
    for include in orders:
        pruning = IterativePruning(levels=1, include=include)
        for found in LotteryTicket(tmp_path, pruning).run(TinyModule(), loader(), short):
            assert found.level == 1


DESCRIBED_EARLIER = {
    "gmp": (
        lambda: GradualPruning(0.8, window=PruningWindow(4, start=0.0, stop=1.0)),
        "GradualPruning(sparsity=0.8, distribution=Uniform(first_layer_dense=False), initialization=Dense(), "
        "include='*', exclude=(), masks_from=None, seed=0, window=PruningWindow(every=4, start=0, stop=1), "
        "schedule=Cubic(initial=0.0, final=1.0), score=Magnitude(), scope='layer')",
    ),
    "groups": (
        lambda: SparseGroups(
            [
                DynamicSparseTraining(include="*0*", grow=InvertedScore(GradientScore())),
                SRigL(0.5, include="*4*", window=UpdateWindow(stop=7000)),
            ]
        ),
        "SparseGroups([DynamicSparseTraining(sparsity=0.9, distribution=ERK(power=1.0), "
        "initialization=UnitScaled(mode='fan_in', distribution='normal', scale=2.0), include='*0*', exclude=(), "
        "masks_from=None, seed=0, window=UpdateWindow(every=100, start=0.0, stop=0.75), drop=Magnitude(), "
        "grow=Inverted(score=Gradient()), drop_fraction=Cosine(initial=0.3), update_replaces_step=True, "
        "gradient_steps=1), SRigL(sparsity=0.5, distribution=ERK(power=1.0), initialization=UnitScaled(mode='fan_in', "
        "distribution='normal', scale=2.0), include='*4*', exclude=(), masks_from=None, seed=0, "
        "window=UpdateWindow(every=100, start=0.0, stop=7000.0), drop=Magnitude(), grow=Gradient(), "
        "drop_fraction=Cosine(initial=0.3), update_replaces_step=True, gradient_steps=1, gamma=0.3, ablation=True)])",
    ),
}


@pytest.mark.parametrize(("build", "before"), DESCRIBED_EARLIER.values(), ids=DESCRIBED_EARLIER)
def test_a_folder_of_an_earlier_release_is_known(build: Callable[[], MaskOwner], before: str, tmp_path: Path) -> None:
    def forget(*_: object) -> pl.Trainer:
        raise AssertionError("this was trained before")

    now = settings(build())
    assert now != before
    [found] = LotteryTicket(tmp_path, build()).run(TinyModule(), loader(), short)
    paths = list(tmp_path.rglob("*.ckpt"))
    for path in paths:
        checkpoint = torch.load(path, weights_only=True)
        about = checkpoint["callbacks"]["LotteryStage"]
        assert now in about["identity"]
        about["identity"] = about["identity"].replace(now, before)
        torch.save(checkpoint, path)
    assert len(paths) == 4
    [again] = LotteryTicket(tmp_path, build()).run(TinyModule(), loader(), forget)
    assert again.masks.digest() == found.masks.digest()
    with pytest.raises(ValueError, match="of a lottery with .*, not of"):
        next(LotteryTicket(tmp_path, SparseTraining(0.8)).run(TinyModule(), loader(), forget))


def test_an_argument_of_an_earlier_release_is_known() -> None:
    assert rewritten("NM(n=2, start=Random(), fixed=True)") == "NM(n=2, first_score=RandomScore(), fixed=True)"
    assert rewritten(settings(NM(2, 4))) == settings(NM(2, 4))


def test_a_measurement_is_known_by_its_method_not_by_where_that_lies() -> None:
    one, other = (HessianSpectrum(at_steps=[0], method=Bare()) for _ in range(2))
    assert one.state_key == other.state_key
    assert HessianSpectrum(at_steps=[2, 1]).state_key == (
        "HessianSpectrum{'at_steps': [1, 2], 'every_n_steps': None, 'around_updates': 0, 'active_only': True, "
        "'method': Exact(max_gib=2.0)}"  # as every release wrote it
    )
    assert "'method': Lanczos(steps=9, " in HessianSpectrum(at_steps=[0], method=LanczosSpectrum(steps=9)).state_key
