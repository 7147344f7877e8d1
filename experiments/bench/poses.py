"""A bench of pose networks: their speed, what their kinematic updates take, and whether the data keep up.

What is compared is timed in turns in one process: a machine's speed changes from minute to minute.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from datamodules import LSP_SKELETON, LSPDataModule, PoseAugmentation, PoseDataModule, SyntheticPoseDataModule
from lightning_modules.networks import RePose, SimpleBaseline
from lightning_modules.pose.heatmaps import heatmap_loss

from ..pose.costs import SIZES, kinematics
from ..run.console_tables import number_table

SIZE, ROUNDS = 256, 7
TREE = kinematics(LSP_SKELETON)


def compared_networks() -> dict[str, nn.Module]:
    """Return the networks to compare: RePose's sizes, base without updates, and a baseline of the usual kind."""
    networks: dict[str, nn.Module] = {name: RePose(TREE, **arguments) for name, arguments in SIZES.items()}
    networks["base, no updates"] = RePose(replace(TREE, passes=()))
    networks["SimpleBaseline, ResNet-18"] = SimpleBaseline(TREE.num_joints, 18)
    return {
        name: network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch omits it
        for name, network in networks.items()
    }


def in_turns(actions: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median seconds of each action; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds + 1):
        for name, action in actions.items():
            begun = time.perf_counter()
            action()
            seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(taken[1:]) for name, taken in seconds.items()}


def image(batch: int) -> Tensor:
    return torch.randn(batch, 3, SIZE, SIZE).to(memory_format=torch.channels_last)


@torch.no_grad()
def inference(console: Console) -> None:
    """Measure latency and throughput, eager and compiled."""
    networks = {name: network.eval() for name, network in compared_networks().items()}
    table = number_table(
        f"inference at {SIZE}x{SIZE} px, {torch.get_num_threads()} threads",
        "network",
        "ms, batch 1",
        "compiled",
        "images/s, batch 32",
        "compiled",
    )
    compiled: dict[str, Any] = {name: torch.compile(network) for name, network in networks.items()}
    measured = [
        in_turns({name: partial(run, image(batch)) for name, run in runners.items()}, rounds)
        for batch, rounds in ((1, ROUNDS), (32, 3))
        for runners in (networks, compiled)
    ]
    for name in networks:
        one, one_compiled, many, many_compiled = (seconds[name] for seconds in measured)
        table.add_row(
            name, f"{1e3 * one:.0f}", f"{1e3 * one_compiled:.0f}", f"{32 / many:.1f}", f"{32 / many_compiled:.1f}"
        )
    console.print(table)


def training(console: Console, batch: int = 4) -> float:
    """Measure steps of a base network with its updates, one joint at a time, and without; return images/s of base."""
    networks = {"grouped": RePose(TREE), "one by one": RePose(TREE), "no updates": RePose(replace(TREE, passes=()))}
    networks["one by one"].updates.forward = networks["one by one"].updates.one_by_one  # type: ignore[method-assign]
    joints, visible = SIZE * torch.rand(batch, TREE.num_joints, 2), torch.ones(batch, TREE.num_joints, dtype=torch.bool)
    x = image(batch)

    def step(network: nn.Module) -> None:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            levels = network(x)
        heatmap_loss(levels, joints, visible).backward()  # type: ignore[no-untyped-call]

    ready = {
        name: network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch omits it
        for name, network in networks.items()
    }
    seconds = in_turns({name: partial(step, network) for name, network in ready.items()})
    table = number_table(f"training step of base, batch {batch}, bfloat16", "updates", "ms", "share of the step")
    for name, taken in seconds.items():
        table.add_row(name, f"{1e3 * taken:.0f}", f"{1 - seconds['no updates'] / taken:.1%}")
    console.print(table)
    return batch / seconds["grouped"]


def loading(console: Console, trained: float, images: int = 256) -> None:
    """Measure images/s of the training loader alone, with all augmentation; it reads LSP if that lies in data/."""
    data: PoseDataModule
    augmentation = PoseAugmentation(half_body=0.3)
    if Path("data/lsp_dataset").is_dir():
        data = LSPDataModule(
            "data", extended=False, val_size=100, input_size=SIZE, augmentation=augmentation, num_workers=2
        )
    else:
        data = SyntheticPoseDataModule(
            train_size=1000, input_size=SIZE, augmentation=augmentation, num_workers=2, batch_size=32
        )
    rates = []
    loader = data.train_dataloader()
    for _ in range(3):
        begun, seen = 0.0, 0
        for batch in loader:
            if not begun:
                begun = time.perf_counter()  # the clock starts after the first batch, which waits for the workers
                continue
            seen += len(batch["index"])
            if seen >= images:
                break
        rates.append(seen / (time.perf_counter() - begun))
    rate = statistics.median(rates)
    console.print(
        f"{type(data).__name__}, 2 workers, augmented, {SIZE} px: {rate:.0f} images/s, "
        f"{rate / trained:.1f} times what base trains at ({trained:.1f})"
    )


def main() -> None:
    console = Console()
    torch.manual_seed(0)
    inference(console)
    loading(console, training(console))
