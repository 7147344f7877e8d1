"""What a mask update needs of memory: no tensor beyond the size of the largest layer, and a few of them at once."""

from __future__ import annotations

import pytest
from fits import TinyModule, fit
from methods import METHODS, MOVING, Method
from operations import Operations

from callbacks.sparsity.rules import top_k, updates
from experiments.bench.mask_updates.one_layer import memory_of_one_layer

RANK_TOGETHER = ("gmp-global", "granet", "granet-dense")  # the weights of all layers
ONE_LAYER = ("static", "set", "rigl", "srigl", "nm", "snfs", "top-kast", "granet", "gmp-global", "snip", "grasp")


@pytest.mark.parametrize("method", [method for method in MOVING if method.name not in RANK_TOGETHER], ids=str)
def test_no_tensor_of_an_update_is_larger_than_the_largest_layer(method: Method) -> None:
    owner, operations = method.build(), Operations()
    operations.watch_updates(owner)
    fit(TinyModule(), [owner])
    assert operations.largest == max(mask.numel() for mask in owner.masks.values()) < owner.masks.size


@pytest.mark.parametrize("method", [method for method in METHODS if method.name in ONE_LAYER], ids=str)
def test_first_masks_and_updates_hold_at_most_five_times_the_largest_weight(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (top_k, updates):
        monkeypatch.setattr(module, "_PIECE", 2**13)  # so that this layer is a large one
    monkeypatch.setattr(top_k, "_DIGIT", 8)
    memory = memory_of_one_layer(method.build(), 512)
    assert 1 < memory.first <= (5.5 if method.name == "grasp" else 5), memory  # a Hessian needs a graph of gradients
    assert memory.update <= 5, memory
    assert bool(memory.update) == method.moves
