"""Train configurations over seeds and keep their scores: python -m experiments reproduce CONFIG... --seeds 0 1."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning.cli import LightningCLI

from callbacks import TrainingFlops
from callbacks.observer import callbacks_of
from callbacks.owner_of import masks_of

from .cli import main as run
from .run.command import command_parser, run_old_form
from .run.configuration import seed_arguments
from .run.provenance import provenance
from .run.rows import CONFIGURATION, append_row, check_rows, runs_without_rows
from .run.yaml_files import configuration_hash

RESULTS = Path("experiments/results/mnist.csv")
COLUMNS = [
    *(
        "config",
        CONFIGURATION,
        "data",
        "seed",
        "steps",
        "test_acc",
        "sparsity",
        "forward_flops",
        "forward_ratio",
        "train_ratio",
    ),
    *("minutes", "commit", "versions", "machine"),
]


def reproduce(configs: list[Path], seeds: list[int], results: Path, more: Sequence[str] = ()) -> None:
    """Fit and test every configuration with every seed and append one row each; finished ones are skipped.

    Args:
        configs: YAML files.
        seeds: each replaces the seed of the network, of the data order and of the masks.
        results: CSV file.
        more: arguments of the command line besides the file's.
    """
    check_rows(results, COLUMNS)
    for config, seed in runs_without_rows(configs, seeds, results, more):
        source = provenance()
        start = time.perf_counter()
        cli = run(["fit", "--config", str(config), *seed_arguments(config, seed), *more])
        row = {
            "config": config.stem,
            CONFIGURATION: configuration_hash(config, more),
            "data": type(cli.datamodule).__name__.removesuffix("DataModule"),
            "seed": seed,
            "steps": cli.trainer.global_step,
            "test_acc": f"{float(cli.trainer.callback_metrics['test/acc']):.4f}",
            **costs(cli),
            "minutes": f"{(time.perf_counter() - start) / 60:.1f}",
        }
        append_row(results, {**row, **source}, COLUMNS)


def costs(cli: LightningCLI) -> dict[str, str]:
    """Return sparsity, FLOPs of a sample's forward pass, and their ratios to the dense network's, also in training."""
    masks = masks_of(cli.trainer)
    counter = next((c for c in callbacks_of(cli.trainer) if isinstance(c, TrainingFlops)), None)
    if counter is None or counter.flops is None:
        return {"sparsity": f"{masks.sparsity:.3f}"}
    forward = counter.flops.sparse(masks.density)
    return {
        "sparsity": f"{masks.sparsity:.3f}",
        "forward_flops": f"{forward:.4g}",
        "forward_ratio": f"{forward / counter.flops.dense:.3f}",
        "train_ratio": f"{counter.total / counter.dense:.3f}",
    }


def main(args: Sequence[str] | None = None) -> None:
    parser = command_parser("reproduce", __doc__)
    parser.add_argument("configs", nargs="+", type=Path, help="YAML files")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one run of each file for each seed")
    parser.add_argument("--results", type=Path, default=RESULTS, help=f"CSV file, default {RESULTS}")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other arguments, without the dashes")
    chosen = parser.parse_args(args)
    reproduce(chosen.configs, chosen.seeds, chosen.results, [f"--{argument}" for argument in chosen.set])


if __name__ == "__main__":
    run_old_form("reproduce", main)
