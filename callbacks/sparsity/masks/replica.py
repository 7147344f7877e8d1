"""Copies of networks to look at them without a trace."""

from __future__ import annotations

import copy
import functools
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def replica(network: Network) -> Network:
    """A deep copy that shares only ``functools.partial`` attributes with the original.

    Those are recipes, not state: a module built from YAML keeps the one of its optimizer, which holds on to
    a parser that cannot be copied.
    """
    recipes = [
        value for module in network.modules() for value in vars(module).values() if isinstance(value, functools.partial)
    ]
    return copy.deepcopy(network, {id(recipe): recipe for recipe in recipes})
