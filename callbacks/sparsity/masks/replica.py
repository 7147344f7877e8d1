"""Copies of networks to look at them without a trace."""

from __future__ import annotations

import copy
import functools
from typing import TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def replica(network: Network) -> Network:
    """Return a deep copy that shares only ``functools.partial`` attributes with the original.

    Those are recipes, not state: a module built from YAML keeps the one of its optimizer, which holds on to
    a parser that cannot be copied. Of an attribute that was computed from parameters, which torch does not copy, the
    numbers are copied: a weight under ``torch.nn.utils.weight_norm`` is computed anew before it is used.
    """
    attributes = [value for module in network.modules() for value in vars(module).values()]
    taken = {id(value): value for value in attributes if isinstance(value, functools.partial)}
    computed = [value for value in attributes if isinstance(value, Tensor) and not value.is_leaf]
    return copy.deepcopy(network, {**taken, **{id(value): value.detach().clone() for value in computed}})
