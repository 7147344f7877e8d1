"""Weights that a layer computes from other parameters: right, or refused by name; never NaN, never dense in silence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fits import TinyModule, fit
from torch import nn
from torch.nn.utils import parametrizations

from callbacks import RigL, SparseTraining
from callbacks.sparsity import prune, select

OLD_WEIGHT_NORM = "ignore:`torch.nn.utils.weight_norm` is deprecated"


def computed(how: Callable[[nn.Module], nn.Module]) -> TinyModule:
    module = TinyModule()
    module.network[4] = how(module.network[4])
    return module


@pytest.mark.filterwarnings(OLD_WEIGHT_NORM)
@pytest.mark.parametrize("callback", [SparseTraining, RigL])
def test_old_weight_norm_is_refused_and_trains_where_it_is_left_dense(callback: type) -> None:
    with pytest.raises(ValueError, match=r"'network.4.weight_g' is a part of weight_norm.*exclude='network.4.\*'"):
        fit(computed(nn.utils.weight_norm), [callback(0.95)])
    module = computed(nn.utils.weight_norm)
    owner = callback(0.95, exclude="network.4.*")
    fit(module, [owner])
    assert "network.4.weight_v" not in owner.masks
    assert all(torch.isfinite(torch.tensor(module.losses)))


@pytest.mark.parametrize(
    "how", [parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal]
)
def test_parametrized_weights_are_refused_not_left_dense_in_silence(how: Callable[[nn.Module], nn.Module]) -> None:
    module = computed(how)
    with pytest.raises(ValueError, match=r"'network.4.weight' is computed from 'network.4.parametrizations"):
        select(module)
    with pytest.raises(ValueError, match="remove_parametrizations"):
        prune(module, 0.9)
    assert list(select(module, exclude="network.4.*")) == ["network.0.weight", "network.6.weight"]
    assert list(select(module, include="Conv2d")) == ["network.0.weight"]


def test_old_spectral_norm_keeps_the_zeros_in_the_weight_it_computes() -> None:
    module, owner = computed(nn.utils.spectral_norm), SparseTraining(0.9)
    fit(module, [owner])
    module(torch.zeros(1, 1, 8, 8))
    assert (module.network[4].weight[~owner.masks["network.4.weight_orig"]] == 0).all()
    assert all(torch.isfinite(torch.tensor(module.losses)))
