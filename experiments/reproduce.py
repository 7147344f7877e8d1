"""Run configurations over seeds and keep their scores: python -m experiments.reproduce CONFIG... --seeds 0 1."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from .cli import main as run
from .provenance import append_row, provenance, read_rows

RESULTS = Path("experiments/results/mnist.csv")
COLUMNS = ["config", "data", "seed", "steps", "test_acc", "minutes", "commit", "versions", "machine"]


def reproduce(configs: list[Path], seeds: list[int], results: Path) -> None:
    """Fit and test every configuration with every seed and append one row each; finished ones are skipped.

    Args:
        configs: YAML files.
        seeds: each replaces the seed of the network, of the data order and of the masks.
        results: CSV file.
    """
    finished = {(row["config"], int(row["seed"])) for row in read_rows(results)}
    for seed in seeds:
        for config in configs:
            if (config.stem, seed) in finished:
                print(f"{config.stem}, seed {seed}: already in {results}")
                continue
            source = provenance()
            start = time.perf_counter()
            cli = run(["fit", "--config", str(config), *_with_seed(seed)])
            row = {
                "config": config.stem,
                "data": type(cli.datamodule).__name__.removesuffix("DataModule"),
                "seed": seed,
                "steps": cli.trainer.global_step,
                "test_acc": f"{float(cli.trainer.callback_metrics['test/acc']):.4f}",
                "minutes": f"{(time.perf_counter() - start) / 60:.1f}",
            }
            append_row(results, {**row, **source}, COLUMNS)


def _with_seed(seed: int) -> list[str]:
    """The same seed for network, masks (the sparse method is the last callback) and data order."""
    return [f"--seed_everything={seed}", f"--trainer.callbacks.seed={seed}", f"--data.init_args.seed={seed}"]


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.reproduce", description=__doc__)
    parser.add_argument("configs", nargs="+", type=Path, help="YAML files")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one run of each file for each seed")
    parser.add_argument("--results", type=Path, default=RESULTS, help=f"CSV file, default {RESULTS}")
    chosen = parser.parse_args(args)
    reproduce(chosen.configs, chosen.seeds, chosen.results)


if __name__ == "__main__":
    main()
