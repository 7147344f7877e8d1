"""What one layer takes of memory and time: its first masks and a mask update, of any method."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from callbacks import MaskOwner
from callbacks.methods.method import Choice
from callbacks.sparsity import Masks
from callbacks.sparsity.masks.replica import replica

from .held_memory import HeldMemory


class LayerMemory(NamedTuple):
    """What is held at most, beyond what was there before, in bytes of the layer's weight.

    Args:
        first: while the first masks and values are drawn.
        update: during a mask update; 0 without one.
        seconds: of that update.
    """

    first: float
    update: float
    seconds: float


def memory_of_one_layer(owner: MaskOwner, side: int, steps: int = 6) -> LayerMemory:
    """Measure a method on a square layer of ``side`` units, with at most so many steps until its first update."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(side, side, bias=False), nn.ReLU(), nn.Linear(side, 8, bias=False))
    batch, bytes_of = (torch.randn(8, side), torch.arange(8)), 4 * side * side

    def look(choose: Choice, *, batches: Any, **_: Any) -> Masks:
        return choose(replica(network), _loss, [batch] if batches else [])

    [part] = owner.parts
    part.plan(network)
    with HeldMemory() as drawn:
        part.draw(look, None)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    part.before, part.order = {}, list(part.weights)
    part.begin([optimizer], scaled=False)
    part.enter_run(100, fresh=True)
    for step in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(_loss(network, batch))
        begun = time.perf_counter()
        with HeldMemory() as updated:
            changed = part.new_masks(optimizer, 0, step)
            if changed:
                part.exchange(changed, [])
        if changed:
            return LayerMemory(drawn.most / bytes_of, updated.most / bytes_of, time.perf_counter() - begun)
        part.before_step(0)
        optimizer.step()
    return LayerMemory(drawn.most / bytes_of, 0, 0)


def _loss(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(network(batch[0]), batch[1])
