"""Parameters and multiply-adds of RePose in its sizes, graphs and controls."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch
from rich.console import Console

from callbacks.sparsity import multiply_adds
from datamodules import LSP_SKELETON, MPII_SKELETON, Skeleton
from lightning_modules.networks import Kinematics, RePose

from ..pages.markdown import table
from ..run.console_tables import number_table

SIZES: Mapping[str, Mapping[str, int]] = {"small": RePose.SMALL, "medium": RePose.MEDIUM, "base": RePose.BASE}
INPUT = 256


@dataclass(frozen=True)
class Cost:
    """The cost of a network for one image of 256x256 px.

    Args:
        network: name of the network.
        joints: number of joints.
        parameters: number of all parameters.
        gmac: multiply-adds of its convolutions, in 1e9, as the design is drawn.
        gmac_run: multiply-adds as it runs, with the decoder's 1x1 convolutions before the upsampling.
    """

    network: str
    joints: int
    parameters: int
    gmac: float
    gmac_run: float

    @property
    def gflops(self) -> float:
        """Return the operations in 1e9, with multiplication and addition counted as two."""
        return 2 * self.gmac


def count_cost(name: str, network: RePose) -> Cost:
    """Count the cost of a network on the meta device, without computing anything."""
    counts = multiply_adds(network, torch.empty(1, 3, INPUT, INPUT, device="meta"))
    run = sum(counts.values())
    # As the paper draws it, the coarse half of each fusion works at twice the resolution, on four times the cells
    drawn = run + 3 * sum(count for weight, count in counts.items() if weight.endswith(".coarse.weight"))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(name, network.updates.kinematics.num_joints, parameters, drawn / 1e9, run / 1e9)


def count_costs() -> list[Cost]:
    """Count the sizes on both data sets, the loopy graphs, and the networks without updates."""
    costs = []
    with torch.device("meta"):
        for skeleton in (MPII_SKELETON, LSP_SKELETON):
            tree = kinematics(skeleton)
            for size, arguments in SIZES.items():
                costs.append(count_cost(f"{size}, {skeleton.name}", RePose(tree, **arguments)))
            loopy = replace(tree, edges=(*skeleton.edges, *skeleton.loops))
            costs.append(count_cost(f"base, {skeleton.name}, loopy graph", RePose(loopy)))
            without = replace(tree, passes=())
            costs.append(count_cost(f"base, {skeleton.name}, without updates", RePose(without)))
            costs.append(count_cost(f"base, {skeleton.name}, matched control", RePose(without, extra_blocks=4)))
    return costs


def kinematics(skeleton: Skeleton) -> Kinematics:
    """Return the tree of a skeleton, updated inward and outward."""
    return Kinematics(len(skeleton.joints), skeleton.edges, skeleton.root)


def cost_table() -> str:
    """Return the costs as a Markdown table."""
    header = ["network", "parameters", "G multiply-adds", "GFLOPs (2 each)", "as it runs"]
    return table(header, ([cost.network, f"{cost.parameters / 1e6:.3f}M", *_shown(cost)] for cost in count_costs()))


def _shown(cost: Cost) -> list[str]:
    return [f"{number:.2f}" for number in (cost.gmac, cost.gflops, cost.gmac_run)]


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``costs``."""
    parser = commands.add_parser("costs", help=__doc__, description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Print the costs."""
    if chosen.json:
        print(json.dumps([{**asdict(cost), "gflops": cost.gflops} for cost in count_costs()], indent=2))
        return
    printed = number_table(
        "RePose, one image of 256x256 px; convolutions only",
        "network",
        "parameters",
        "G multiply-adds",
        "GFLOPs (2 each)",
        "G multiply-adds as it runs",
    )
    for cost in count_costs():
        printed.add_row(cost.network, f"{cost.parameters:,}", *_shown(cost))
    Console().print(printed)
