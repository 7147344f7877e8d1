"""What the bench of callbacks adds to a Trainer: sparse training, its monitors, and the pruning of others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelPruning
from pytorch_lightning.loggers import Logger, WandbLogger
from torch import nn
from torch.nn.utils import prune

from callbacks import GradientFlowMonitor, RigL, SparseTraining
from callbacks.sparsity import UpdateWindow

from ..dashboard import Dashboard

SPARSITY = 0.9
PERIOD = 100  # optimizer steps from one mask update to the next


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: the callbacks of a Trainer, and what else must be done to switch them on and off."""

    callbacks: list[pl.Callback]
    switch: Callable[[bool], None] = lambda _: None
    logger: Callable[[], Logger] | None = None  # makes the logger of all turns, with and without the arm
    always: Sequence[pl.Callback] = ()  # the callbacks that are never switched off
    even: bool = True  # whether the cost is even over periods; medians do not see what happens now and then


def weighted_layers(network: nn.Module) -> list[tuple[nn.Module, str]]:
    """Return what all arms make sparse: every convolution and linear layer, with the name of its weight."""
    return [(layer, "weight") for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


def nothing(network: nn.Module) -> Arm:  # noqa: ARG001  # has the arguments of the other arms
    return Arm([])


def rigl(network: nn.Module) -> Arm:  # noqa: ARG001
    # The defaults are a mask update every 100 steps, of which the callback counts those that it sees, and a measurement
    # every 50; the window of the Trainer's logging is twice as wide, since the arm is off in every other turn. An
    # update reports too, here in a step of its own.
    return Arm([RigL(SPARSITY, window=UpdateWindow(PERIOD, stop=10**9)), GradientFlowMonitor(every_n_steps=50)])


def fixed_mask(network: nn.Module) -> Arm:  # noqa: ARG001
    return Arm([SparseTraining(SPARSITY)])


def model_pruning(network: nn.Module) -> Arm:
    pruning = ModelPruning(
        "l1_unstructured",
        weighted_layers(network),
        amount=SPARSITY,
        use_global_unstructured=False,
        apply_pruning=lambda epoch: epoch == 0,
        use_lottery_ticket_hypothesis=False,
    )
    return Arm([pruning], switch_pruning(network))


def torch_prune(network: nn.Module) -> Arm:
    for layer, name in weighted_layers(network):
        prune.random_unstructured(layer, name, SPARSITY)  # type: ignore[no-untyped-call]
    return Arm([], switch_pruning(network))


def switch_pruning(network: nn.Module) -> Callable[[bool], None]:
    """Return a switch of the hooks by which torch.nn.utils.prune multiplies weights by masks before a forward pass."""
    hooks: dict[nn.Module, dict[int, Any]] = {}

    def switch(on: bool) -> None:
        for layer, _ in weighted_layers(network):
            if on:
                layer._forward_pre_hooks.update(hooks[layer])
                layer.register_parameter("weight_orig", layer._parameters.pop("weight"))
            else:
                hooks[layer] = dict(layer._forward_pre_hooks)
                layer._forward_pre_hooks.clear()
                del layer.weight
                layer.register_parameter("weight", layer._parameters.pop("weight_orig"))

    return switch


def dashboard(network: nn.Module) -> Arm:  # noqa: ARG001
    # It gets half its share of the time, since it is off in every other turn; its owner of masks is in all turns.
    owner, board = SparseTraining(SPARSITY), Dashboard(share=0.005)

    def switch(on: bool) -> None:
        owner._observers = [board] if on else []

    logger = partial(WandbLogger, save_dir=tempfile.mkdtemp(), mode="offline", settings={"silent": True})
    return Arm([owner, board], switch, logger=logger, always=[owner], even=False)


ARMS: dict[str, Callable[[nn.Module], Arm]] = {
    "nothing": nothing,
    "RigL + GradientFlowMonitor": rigl,
    "SparseTraining": fixed_mask,
    "Dashboard, to SparseTraining": dashboard,
    "Lightning's ModelPruning": model_pruning,
    "torch.nn.utils.prune": torch_prune,
}
