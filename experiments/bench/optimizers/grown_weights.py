"""Whether weights that grow train better with counters of steps of their own: RigL and AdamW on MNIST."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from callbacks.methods import RigL
from callbacks.methods.method import Choice
from callbacks.parts.part import Part
from callbacks.sparsity import Masks, UpdateWindow
from datamodules import MNISTDataModule
from lightning_modules.networks import LeNet300100

from ...run.provenance import provenance
from ...run.rows import append_row, read_rows
from .entrywise_adamw import EntrywiseAdamW

RESULTS = Path(__file__).parents[2] / "results" / "grown_weights.csv"
COUNTERS: dict[str, Callable[[Iterable[Tensor], float], Optimizer]] = {
    "layer": lambda parameters, lr: AdamW(parameters, lr),
    "weight": lambda parameters, lr: EntrywiseAdamW(parameters, lr),
}
RATES = (1e-3, 3e-3, 1e-2, 2e-2)
SPARSITY, BATCH, EVERY = 0.98, 128, 100
COLUMNS = ["counters", "lr", "data", "seed", "steps", "accuracy", "minutes", "commit", "versions", "machine"]


def train(
    optimizer: Optimizer, network: nn.Module, part: Part, steps: int, seed: int, data: tuple[Tensor, Tensor]
) -> None:
    """Train a network whose weights a part keeps sparse; the learning rate follows a cosine."""
    scheduler = CosineAnnealingLR(optimizer, steps)
    part.begin([optimizer], scaled=False)
    part.enter_run(steps, fresh=True)
    generator, order = torch.Generator().manual_seed(seed), torch.empty(0, dtype=torch.long)
    for step in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(len(data[1]), generator=generator)
        index, order = order[:BATCH], order[BATCH:]
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(network(data[0][index]), data[1][index]))
        if changed := part.new_masks(optimizer, 0, step):
            part.exchange(changed, [])
        else:
            part.before_step(0)
            optimizer.step()
        scheduler.step()


def accuracy(counters: str, lr: float, seed: int, steps: int, splits: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Return the test accuracy of one run."""
    torch.manual_seed(seed)
    network = LeNet300100()
    method = RigL(SPARSITY, window=UpdateWindow(EVERY, stop=0.75), seed=seed)
    part = Part(method)
    part.plan(network)
    part.draw(_no_look, None)
    train(COUNTERS[counters](network.parameters(), lr), network, part, steps, seed, splits[0])
    with torch.no_grad():
        return float((network(splits[1][0]).argmax(1) == splits[1][1]).double().mean())


def main(
    results: Path = RESULTS, seeds: Sequence[int] = (0, 1, 2), steps: int = 5860, root: str = "data/mnist"
) -> None:
    read = MNISTDataModule(root).read()
    splits = [(read[name].images.float() / 255, read[name].labels) for name in ("train", "test")]
    done = {(row["counters"], row["lr"], row["seed"]) for row in read_rows(results)}
    for seed in seeds:
        for lr in RATES:
            for counters in COUNTERS:
                if (counters, f"{lr:g}", str(seed)) in done:
                    continue
                source, begun = provenance(), time.perf_counter()
                reached = accuracy(counters, lr, seed, steps, splits)
                row = {"counters": counters, "lr": f"{lr:g}", "data": "MNIST", "seed": seed, "steps": steps}
                row |= {"accuracy": f"{reached:.4f}", "minutes": f"{(time.perf_counter() - begun) / 60:.2f}"}
                append_row(results, {**row, **source}, COLUMNS)


def _no_look(choose: Choice, **_: object) -> Masks:
    del choose
    raise RuntimeError("RigL draws its first masks at random")
