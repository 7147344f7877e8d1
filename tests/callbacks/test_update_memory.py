"""What a mask update needs of memory: no tensor beyond the size of the largest layer."""

from __future__ import annotations

import pytest
from fits import TinyModule, fit
from methods import MOVING, Method
from operations import Operations

RANK_TOGETHER = ("gmp-global", "granet", "granet-dense")  # the weights of all layers


@pytest.mark.parametrize("method", [method for method in MOVING if method.name not in RANK_TOGETHER], ids=str)
def test_no_tensor_of_an_update_is_larger_than_the_largest_layer(method: Method) -> None:
    owner, operations = method.build(), Operations()
    operations.watch_updates(owner)
    fit(TinyModule(), [owner])
    assert operations.largest == max(mask.numel() for mask in owner.masks.values()) < owner.masks.size
