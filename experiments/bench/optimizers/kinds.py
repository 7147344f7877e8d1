"""The optimizers that are looked at: all of torch, and one of each kind that other libraries add."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

Make = Callable[[Iterable[Tensor]], Optimizer]


class Kind(NamedTuple):
    """One optimizer.

    Args:
        name: what it is called.
        library: the package that has it, which may not be installed.
        make: makes it for some parameters.
        by_hand: its ``step`` wants gradients before it calls its closure, as SAM does.
    """

    name: str
    library: str
    make: Make
    by_hand: bool = False


def _torch(name: str, **arguments: Any) -> Kind:
    return Kind(name, "torch", lambda parameters: getattr(torch.optim, name)(list(parameters), **arguments))


def _other(library: str, path: str, **arguments: Any) -> Kind:
    module, name = path.rsplit(".", 1)

    def make(parameters: Iterable[Tensor]) -> Optimizer:
        made: Optimizer = getattr(import_module(module), name)(list(parameters), **arguments)
        return made

    return Kind(name, library, make)


def _lookahead(parameters: Iterable[Tensor]) -> Optimizer:
    made: Optimizer = import_module("pytorch_optimizer").Lookahead(SGD(list(parameters), lr=0.05, momentum=0.9))
    return made


def _sam(parameters: Iterable[Tensor]) -> Optimizer:
    made: Optimizer = import_module("pytorch_optimizer").SAM(list(parameters), SGD, lr=0.05, momentum=0.9)
    return made


KINDS = [
    _torch("SGD", lr=0.05, momentum=0.9, nesterov=True),
    _torch("Adam", lr=1e-3),
    _torch("AdamW", lr=1e-3),
    _torch("NAdam", lr=1e-3),
    _torch("RAdam", lr=1e-3),
    _torch("Adamax", lr=1e-3),
    _torch("RMSprop", lr=1e-3),
    _torch("Adagrad", lr=1e-2),
    _torch("Adadelta", lr=1.0),
    _torch("Adafactor", lr=1e-2),
    _torch("Rprop", lr=1e-3),
    _torch("ASGD", lr=0.05),
    _torch("Muon", lr=1e-2),
    _torch("LBFGS"),
    _torch("SparseAdam"),
    _other("torchao", "torchao.optim.AdamW8bit", lr=1e-3),
    _other("schedulefree", "schedulefree.AdamWScheduleFree", lr=1e-3),
    Kind("Lookahead of SGD", "pytorch_optimizer", _lookahead),
    Kind("SAM of SGD", "pytorch_optimizer", _sam, by_hand=True),
]
