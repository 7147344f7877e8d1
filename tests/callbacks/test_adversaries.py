"""A generator and a discriminator that train each other by hand, each with an optimizer of its own."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from fits import loader, trainer
from methods import METHODS, Method
from torch import nn
from zeros import Zeros

from callbacks import MaskOwner


class Adversaries(pl.LightningModule):
    """The discriminator steps every batch, the generator every other one, each with the other switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        torch.manual_seed(0)
        self.generator = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 64))
        self.discriminator = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 24), nn.ReLU())
        self.verdict = nn.Linear(24, 4)  # one is used; 4 so that patterns divide it

    def judge(self, image: torch.Tensor) -> torch.Tensor:
        verdict: torch.Tensor = self.verdict(self.discriminator(image)).mean(1)
        return verdict

    def training_step(self, batch, batch_idx: int) -> None:
        real = batch[0]
        fake = self.generator(torch.randn(len(real), 8)).view(-1, 1, 8, 8)
        for index, optimizer in enumerate(self.optimizers()):
            if index == 1 and batch_idx % 2:
                continue
            self.toggle_optimizer(optimizer)
            both = [self.judge(real), -self.judge(fake.detach())] if index == 0 else [self.judge(fake)]
            loss = -torch.stack([nn.functional.logsigmoid(verdict).mean() for verdict in both]).sum()
            self.manual_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            self.untoggle_optimizer(optimizer)

    def configure_optimizers(self):
        judge = [*self.discriminator.parameters(), *self.verdict.parameters()]
        return torch.optim.Adam(judge, 1e-3), torch.optim.SGD(self.generator.parameters(), 0.01, momentum=0.9)


class Digests(Zeros):
    """Which masks there were; masked weights are 0 and gather no state, whichever optimizer has stepped."""

    def __init__(self, owner: MaskOwner) -> None:
        super().__init__(owner, state=True)
        self.seen: set[str] = set()

    def on_train_batch_end(self, trainer, pl_module, *more: object) -> None:
        super().on_train_batch_end(trainer, pl_module, *more)
        self.seen.add(self.owner.masks.digest())


# criteria at the start run the training step, which would step by hand; groups select other names
LEFT_OUT = {"snip", "snip-layer", "grasp", "synflow", "groups"}


@pytest.mark.filterwarnings("ignore:the run ended at step")  # the window is a fraction of the batches
@pytest.mark.parametrize("method", [m for m in METHODS if m.name not in LEFT_OUT], ids=str)
def test_each_optimizer_updates_its_own_weights(method: Method) -> None:
    owner = method.build(0.6)
    digests = Digests(owner)
    fitted = trainer([owner, digests], max_steps=-1, max_epochs=4)
    fitted.fit(Adversaries(), loader())
    assert fitted.callback_metrics["sparsity/actual"] == fitted.callback_metrics["sparsity/target"]
    assert (len(digests.seen) > 1) == method.moves
