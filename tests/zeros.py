"""Zeros: checks I1 after every step."""

from __future__ import annotations

from collections.abc import Iterable

import pytorch_lightning as pl
import torch
from torch.optim import Optimizer

from callbacks import MaskOwner
from callbacks.sparsity.masks.sharding import gather


def assert_zeros(owner: MaskOwner, module: pl.LightningModule, optimizers: Iterable[Optimizer] = ()) -> None:
    """Weights outside the masks are 0, and what is not trained gathers no state of these optimizers."""
    trained = getattr(owner, "backward_masks", owner.masks)
    for name, mask in owner.masks.items():
        weight = module.get_parameter(name)
        assert (gather(weight.detach())[~mask] == 0).all(), f"I1: a masked weight of {name} is not 0"
        for optimizer in optimizers:
            for state in optimizer.state.get(weight, {}).values():
                if torch.is_tensor(state) and state.shape == weight.shape:
                    assert (gather(state)[~trained[name]] == 0).all(), (
                        f"masked entries of {name} gather optimizer state"
                    )


class Zeros(pl.Callback):
    """Checks weights after every step, with ``state`` what optimizers keep too."""

    def __init__(self, owner: MaskOwner, *, state: bool = False) -> None:
        self.owner, self.state = owner, state

    def on_train_batch_end(self, trainer, pl_module, *_: object) -> None:
        assert_zeros(self.owner, pl_module, trainer.optimizers if self.state else ())
