"""Count what sparse training of a network costs, without training it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from torch import nn

from callbacks import methods
from callbacks.sparsity import ER, ERK, Cubic, Distribution, Flops, PruningWindow, Uniform, select, storage_bytes
from lightning_modules import networks

from .run.command import command_parser, run_old_form
from .run.console_tables import number_table

DISTRIBUTIONS: Mapping[str, type[Distribution]] = {"uniform": Uniform, "ER": ER, "ERK": ERK}


@dataclass(frozen=True)
class Plan:
    """A network and how sparse each of its layers is to be.

    Args:
        network: a network on any device.
        flops: the FLOPs of a sample.
        shapes: the shapes of the weights that are made sparse.
        sparsity: the fraction of zeros over the layers in ``shapes``.
        distribution: how the sparsity is distributed over these layers.
    """

    network: nn.Module
    flops: Flops
    shapes: Mapping[str, torch.Size]
    sparsity: float
    distribution: Distribution

    def forward(self, sparsity: float | None = None) -> float:
        """Return the FLOPs of a sample at a sparsity, by default the final one."""
        counts = self.counts(self.sparsity if sparsity is None else sparsity)
        return self.flops.sparse({name: count / self.shapes[name].numel() for name, count in counts.items()})

    def counts(self, sparsity: float) -> dict[str, int]:
        return self.distribution(self.shapes, sparsity)

    @property
    def bytes(self) -> float:
        """Return the bytes of the parameters, with masks where there is sparsity."""
        return storage_bytes(self.network, self.counts(self.sparsity) if self.sparsity else {})


STEPS = 32_000  # the length of RigL's run of ResNet-50
EXPLORATION, FIRST_SPARSITY = methods.TopKAST.exploration, methods.GraNet.initial_sparsity  # the defaults


def rigl(plan: Plan, every: int) -> float:
    """Return the FLOPs of RigL: three forward passes a step, and every so many steps the gradients of all weights."""
    return (3 * every * plan.forward() + 2 * plan.forward() + plan.flops.dense) / (every + 1)


def forwards(plan: Plan, initial: float, window: PruningWindow) -> dict[int, float]:
    """Return the FLOPs of forward passes during gradual pruning, at the steps 0, 1000, ..., 32,000.

    RigL's tables count with their mean. With each sparsity counted for the 1,000 steps that it lasts, the ratio of
    ResNet-50 at 80 % would be .570 instead of .560.
    """
    schedule = Cubic(initial, plan.sparsity)
    return {step: plan.forward(schedule(window.progress(step, STEPS))) for step in range(0, STEPS + 1, window.every)}


def granet(plan: Plan, every: int) -> float:
    """Return the FLOPs of GraNet: pruning from a sparse start, and every so many steps the gradients of all weights."""
    window = PruningWindow(1000, start=0.0)
    passes = forwards(plan, min(FIRST_SPARSITY, plan.sparsity), window)
    more = sum(plan.flops.dense - forward for step, forward in passes.items() if step <= window.stop * STEPS) / every
    return 3 * statistics.mean(passes.values()) + more / len(passes)


# FLOPs of training on one sample, as in the table of RigL's appendix: a backward pass counts as two forward passes.
METHODS: Mapping[str, Callable[[Plan, int], float]] = {
    "dense": lambda plan, _: 3 * plan.flops.dense,
    "static": lambda plan, _: 3 * plan.forward(),
    "SET": lambda plan, _: 3 * plan.forward(),
    "RigL": rigl,
    "SRigL": rigl,
    "SNFS": lambda plan, _: 2 * plan.forward() + plan.flops.dense,
    "Top-KAST": lambda plan, _: 2 * plan.forward() + plan.forward(max(plan.sparsity - EXPLORATION, 0.0)),
    "GraNet": granet,
    "GMP": lambda plan, _: 3 * statistics.mean(forwards(plan, 0.0, PruningWindow(1000, 10_000, 25_000)).values()),
}


def plan(
    network: nn.Module,
    image: Sequence[int],
    sparsity: float,
    distribution: Distribution,
    *,
    exclude: Sequence[str] = (),
) -> Plan:
    """Count a network on the meta device.

    Args:
        network: a network on ``device="meta"``.
        image: channels, height and width.
        sparsity: fraction of zeros, in [0, 1).
        distribution: how the sparsity is distributed over layers.
        exclude: patterns of weights that stay dense; see :func:`select`.
    """
    flops = Flops.of(network, torch.empty(1, *image, device="meta"))
    shapes = {name: weight.parameter.shape for name, weight in select(network, exclude=exclude).items()}
    return Plan(network, flops, shapes, sparsity, distribution)


def main(args: Sequence[str] | None = None) -> None:
    parser = command_parser("flops", __doc__)
    names = [name for name in networks.__all__ if isinstance(getattr(networks, name), type)]
    parser.add_argument("--network", required=True, choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--input", type=int, nargs=3, default=[3, 224, 224], metavar=("C", "H", "W"))
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--distribution", choices=DISTRIBUTIONS, default="ERK")
    parser.add_argument("--method", choices=METHODS, default="RigL")
    parser.add_argument("--every", type=int, default=100, help="optimizer steps between RigL's updates")
    parser.add_argument("--first-layer-dense", action="store_true", help="leave the first layer dense")
    parser.add_argument("--multiplier", type=float, default=1.0, help="length of training, times the usual one")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(args)
    with torch.device("meta"):
        network = getattr(networks, chosen.network)()
    first = [next(iter(select(network)))] if chosen.first_layer_dense else []
    planned = plan(network, chosen.input, chosen.sparsity, DISTRIBUTIONS[chosen.distribution](), exclude=first)
    training = METHODS[chosen.method](planned, chosen.every)
    costs = {
        "network": chosen.network,
        "method": chosen.method,
        "sparsity": chosen.sparsity,
        "dense_flops": planned.flops.dense,
        "inference_ratio": planned.forward() / planned.flops.dense,
        "training_ratio": chosen.multiplier * training / (3 * planned.flops.dense),
        "bytes": planned.bytes,
    }
    if chosen.json:
        print(json.dumps(costs, indent=2))
        return
    table = number_table(f"{chosen.network}, {' x '.join(map(str, chosen.input))}", "", "")
    for name, value in costs.items():
        table.add_row(name.replace("_", " "), f"{value:,.4g}" if isinstance(value, float) else str(value))
    Console().print(table)


if __name__ == "__main__":
    run_old_form("flops", main)
