"""Weights that are computed from parameters: pruned right, or refused by name with a way out, never silently dense."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, remove_weight_norm, spectral_norm, weight_norm

from callbacks.sparsity import SNIP, Criterion, GraSP, OneShotMagnitude, SynFlow, prune, select

Wrap = Callable[[nn.Module], nn.Module]


@functools.wraps(weight_norm)
def old_weight_norm(layer: nn.Module, name: str = "weight") -> nn.Module:
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        return weight_norm(layer, name)


def network(wrap: Wrap) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), wrap(nn.Linear(8, 4)), nn.ReLU(), wrap(nn.Linear(4, 3)))


COMPUTED: dict[str, tuple[Wrap, str, str]] = {
    "weight_norm": (old_weight_norm, "2.weight_g", "*weight_[gv]"),
    "parametrizations.weight_norm": (
        parametrizations.weight_norm,
        "2.parametrizations.weight.original0",
        "*parametrizations.weight.*",
    ),
    "parametrizations.spectral_norm": (
        parametrizations.spectral_norm,
        "2.parametrizations.weight.original",
        "*parametrizations.weight.*",
    ),
    "orthogonal": (
        parametrizations.orthogonal,
        "2.parametrizations.weight.original",
        "*parametrizations.weight.*",
    ),
}


@pytest.mark.parametrize("kind", list(COMPUTED))
def test_what_a_weight_is_computed_from_is_refused_with_a_way_out(kind: str) -> None:
    wrap, name, pattern = COMPUTED[kind]
    for function in (select, functools.partial(prune, sparsity=0.5)):
        with pytest.raises(ValueError, match=re.escape(f"'{name}' is ")) as refusal:
            function(network(wrap))
        assert f"exclude={pattern!r}" in str(refusal.value)
    assert list(select(network(wrap), exclude=pattern)) == ["0.weight"]
    assert list(select(network(wrap), include="0.*")) == ["0.weight"]
    with pytest.raises(ValueError, match="'4.*"):
        select(network(wrap), exclude="2.*")


@pytest.mark.parametrize("kind", list(COMPUTED))
def test_a_class_of_layers_includes_and_excludes_those_of_it_with_computed_weights(kind: str) -> None:
    wrap, name, _ = COMPUTED[kind]
    module = nn.Sequential(nn.Conv1d(2, 3, 1), nn.ReLU(), wrap(nn.Linear(8, 4)))
    assert list(select(module, exclude="Linear")) == ["0.weight"]
    with pytest.raises(ValueError, match=name):
        select(module, include="Linear")
    assert list(select(module.requires_grad_(True), include="Conv1d")) == ["0.weight"]
    for parameter in module[2].parameters():
        parameter.requires_grad_(False)
    assert list(select(module)) == ["0.weight"], "frozen weights stay dense, however they are computed"


@pytest.mark.parametrize("include", ["2.weight_v", "2.parametrizations.weight.original1"])
def test_the_direction_of_weight_norm_is_refused_by_its_exact_name_too(include: str) -> None:
    module = network(old_weight_norm if include.endswith("_v") else parametrizations.weight_norm)
    with pytest.raises(ValueError, match=rf"'{include}'.*weight_norm"):
        select(module, include=include)


def test_weight_norm_of_other_tensors_than_weight_is_refused() -> None:
    module = nn.Sequential(old_weight_norm(nn.LSTM(3, 4), "weight_hh_l0"))
    with pytest.raises(ValueError, match=r"exclude='\*weight_hh_l0_\[gv\]'"):
        select(module)
    assert list(select(module, exclude="*weight_hh_l0_[gv]")) == ["0.weight_ih_l0"]


def test_weights_are_sparse_again_without_the_norm() -> None:
    old, new = network(old_weight_norm), network(parametrizations.weight_norm)
    for i in (2, 4):
        remove_weight_norm(old[i])
        parametrize.remove_parametrizations(new[i], "weight")
    for module in (old, new):
        assert list(prune(module, 0.5)) == ["0.weight", "2.weight", "4.weight"]


@pytest.mark.parametrize(
    ("wrap", "names"),
    [
        (spectral_norm, ["0.weight", "2.weight_orig", "4.weight_orig"]),
        (parametrizations.spectral_norm, ["0.weight", *(f"{i}.parametrizations.weight.original" for i in (2, 4))]),
    ],
)
def test_a_weight_under_spectral_norm_is_0_where_its_parameter_is(wrap: Wrap, names: list[str]) -> None:
    module = network(wrap)
    masks = prune(module, 0.75, include=["*", *names])
    assert list(masks) == names
    assert module(torch.ones(2, 6)).isfinite().all()
    for i, name in zip((0, 2, 4), names, strict=True):
        assert torch.equal(module[i].weight != 0, masks[name])


def test_inputs_and_outputs_of_a_parametrized_weight_are_those_of_its_layer() -> None:
    layer = parametrizations.spectral_norm(nn.ConvTranspose1d(6, 4, 3, groups=2))
    [weight] = select(layer, include="parametrizations.weight.original").values()
    assert (weight.transposed, weight.groups, weight.neurons) == (True, 2, 4)


@pytest.mark.parametrize("criterion", [OneShotMagnitude(), SNIP(), GraSP(), SynFlow(5)])
@pytest.mark.parametrize("kind", ["weight_norm", "parametrizations.weight_norm", "parametrizations.spectral_norm"])
def test_criteria_see_through_layers_that_are_left_out(kind: str, criterion: Criterion) -> None:
    wrap, _, pattern = COMPUTED[kind]
    module = network(wrap)
    before = {name: parameter.detach().clone() for name, parameter in module[2].named_parameters()}
    masks = prune(
        module,
        0.5,
        criterion=criterion,
        exclude=pattern,
        loss=lambda net, batch: net(batch).square().mean(),
        batches=[torch.ones(2, 6)],
    )
    assert masks.counts == {"0.weight": 24}
    for name, parameter in module[2].named_parameters():
        assert torch.equal(parameter, before[name])
