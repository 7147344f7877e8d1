"""Parameters and multiply-adds of RePose in its sizes, graphs and controls."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.table import Table

from callbacks.sparsity import multiply_adds
from datamodules import LSP_SKELETON, MPII_SKELETON, Skeleton
from lightning_modules.networks import Kinematics, RePose

if TYPE_CHECKING:
    from argparse import _SubParsersAction

SIZES: Mapping[str, Mapping[str, int]] = {"small": RePose.SMALL, "medium": RePose.MEDIUM, "base": RePose.BASE}
INPUT = 256


@dataclass(frozen=True)
class Cost:
    """What a network has and does for one image of 256x256 px.

    Args:
        network: which.
        joints: K.
        parameters: all of them.
        gmac: multiply-adds of its convolutions, in 1e9, as the design is drawn.
        gmac_run: as it runs: the decoder's 1x1 convolutions come before the upsampling.
    """

    network: str
    joints: int
    parameters: int
    gmac: float
    gmac_run: float

    @property
    def gflops(self) -> float:
        """Multiplication and addition counted as two."""
        return 2 * self.gmac


def cost(name: str, network: RePose) -> Cost:
    """Count, without computing: the network is on the meta device."""
    counts = multiply_adds(network, torch.empty(1, 3, INPUT, INPUT, device="meta"))
    run = sum(counts.values())
    # drawn, the coarse half of each fusion works at twice the resolution: four times the cells
    drawn = run + 3 * sum(count for weight, count in counts.items() if weight.endswith(".coarse.weight"))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(name, network.updates.kinematics.num_joints, parameters, drawn / 1e9, run / 1e9)


def costs() -> list[Cost]:
    """The sizes on both data sets, the loopy graphs, and the networks without updates."""
    found = []
    with torch.device("meta"):
        for skeleton in (MPII_SKELETON, LSP_SKELETON):
            tree = kinematics(skeleton)
            for size, arguments in SIZES.items():
                found.append(cost(f"{size}, {skeleton.name}", RePose(tree, **arguments)))
            loopy = replace(tree, edges=(*skeleton.edges, *skeleton.loops))
            found.append(cost(f"base, {skeleton.name}, loopy graph", RePose(loopy)))
            without = replace(tree, passes=())
            found.append(cost(f"base, {skeleton.name}, without updates", RePose(without)))
            found.append(cost(f"base, {skeleton.name}, matched control", RePose(without, extra_blocks=4)))
    return found


def kinematics(skeleton: Skeleton) -> Kinematics:
    """The skeleton's tree, updated inward and outward."""
    return Kinematics(len(skeleton.joints), skeleton.edges, skeleton.root)


def cost_table() -> str:
    """The same as a Markdown table."""
    head = ["| network | parameters | G multiply-adds | GFLOPs (2 each) | as it runs |", "|---|---:|---:|---:|---:|"]
    rows = (
        f"| {row.network} | {row.parameters / 1e6:.3f}M | {row.gmac:.2f} | {row.gflops:.2f} | {row.gmac_run:.2f} |"
        for row in costs()
    )
    return "\n".join([*head, *rows])


def add_command(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``costs``."""
    parser = commands.add_parser("costs", help=__doc__, description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Print them."""
    if chosen.json:
        print(json.dumps([{**asdict(row), "gflops": row.gflops} for row in costs()], indent=2))
        return
    table = Table(title="RePose, one image of 256x256 px; convolutions only")
    for column in ("network", "parameters", "G multiply-adds", "GFLOPs (2 each)", "G multiply-adds as it runs"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in costs():
        table.add_row(row.network, f"{row.parameters:,}", f"{row.gmac:.2f}", f"{row.gflops:.2f}", f"{row.gmac_run:.2f}")
    Console().print(table)
