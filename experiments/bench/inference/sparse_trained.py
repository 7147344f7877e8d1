"""Measure trained networks as SparseModels: score on all test data, size and latency, beside the dense module's."""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import LightningCLI
from rich.console import Console
from torch import nn

from callbacks import read_masks
from callbacks.files.safe_files import read_checkpoint
from lightning_modules.sparse_inference import load_sparse, save_sparse

from ...pages.inference_page import EAGER, OURS
from ...run.command import add_trust, command_parser
from ...run.configuration import run_name
from ...run.rows import append_row, check_rows
from ...run.trained import load_trained
from .networks import test_image
from .peers import PEERS, Subject, flattened, relative_error
from .rows import source
from .sparse_inference import ROUNDS, by_turns

COLUMNS = [
    *("config", "data", "seed", "steps", "sparsity", "test_images", "score", "dense_score", "sparse_score", "error"),
    *("dense_bytes", "sparse_bytes", "dense_ms", "sparse_ms", "minutes", "commit", "versions", "machine"),
]


def measure(checkpoint: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Return a row; the network goes through a file of :func:`save_sparse` and then runs dense and as a SparseModel."""
    begun = time.perf_counter()
    cli = load_trained(checkpoint, chosen.config, data=chosen.data, trust=chosen.trust)
    masks = read_masks(checkpoint)
    network, image = cli.model.network, test_image(cli)
    sizes = _through_files(network, {name.removeprefix("network."): mask for name, mask in masks.items()})
    score, dense_score = _score(cli)
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(network, image, Path(folder))
        runs = {name: PEERS[name](subject) for name in (OURS, *EAGER)}
        seconds = {name: statistics.median(values) for name, values in by_turns(runs, chosen.rounds).items()}
        wanted = flattened(runs[EAGER[0]]())
        error = relative_error(runs[OURS](), wanted)
    cli.model.network = subject.ours
    return {
        "config": run_name(checkpoint, chosen.config),
        "data": type(cli.datamodule).__name__.removesuffix("DataModule"),
        "seed": cli.datamodule.seed,
        "steps": read_checkpoint(checkpoint)["global_step"],
        "sparsity": f"{masks.sparsity:.3f}",
        "test_images": len(cli.datamodule.test_dataloader().dataset),
        "score": score,
        "dense_score": f"{dense_score:.4f}",
        "sparse_score": f"{_score(cli)[1]:.4f}",
        "error": f"{error:.1e}",
        **sizes,
        "dense_ms": f"{1e3 * min(seconds[name] for name in EAGER):.4g}",
        "sparse_ms": f"{1e3 * seconds[OURS]:.4g}",
        "minutes": f"{(time.perf_counter() - begun) / 60:.1f}",
    }


def _through_files(network: nn.Module, masks: dict[str, torch.Tensor]) -> dict[str, int]:
    """Return bytes on disk, as torch and as :func:`save_sparse` write them; the network is read from the latter."""
    with tempfile.TemporaryDirectory() as folder:
        dense, sparse = Path(folder) / "dense.pt", Path(folder) / "sparse.safetensors"
        torch.save(network.state_dict(), dense)
        save_sparse(network, sparse, masks=masks)
        load_sparse(sparse, network)
        return {"dense_bytes": dense.stat().st_size, "sparse_bytes": sparse.stat().st_size}


def _score(cli: LightningCLI) -> tuple[str, float]:
    """Return name and value of the score on all test data."""
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    [scores] = trainer.test(cli.model, cli.datamodule, verbose=False)
    return next((name, value) for name, value in scores.items() if name != "test/loss")


def main(args: Sequence[str]) -> None:
    """Print a line for each checkpoint, and append rows if there is a file for them."""
    parser = command_parser("bench sparse-trained", __doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+", help="of runs of python -m experiments fit")
    parser.add_argument("--config", type=Path, help="the runs' YAML file; default: config.yaml in each run's folder")
    add_trust(parser)
    parser.add_argument("--data", type=Path, help="folder of the data set; default: the configuration's")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns of each, default {ROUNDS}")
    parser.add_argument("--results", type=Path, help="CSV file that rows are added to")
    chosen = parser.parse_args(args)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    if chosen.results:
        check_rows(chosen.results, COLUMNS)
    for checkpoint in chosen.checkpoints:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning warns of loaders without workers
            row = measure(checkpoint, chosen)
        Console().print(
            f"{row['config']}, {float(row['sparsity']):.1%} sparse: {row['score']} {row['dense_score']} dense, "
            f"{row['sparse_score']} as a SparseModel, on {row['test_images']} images; "
            f"{row['dense_bytes'] / 1e3:,.0f} and {row['sparse_bytes'] / 1e3:,.0f} kB; "
            f"{row['dense_ms']} and {row['sparse_ms']} ms an image",
            soft_wrap=True,
        )
        if chosen.results:
            append_row(chosen.results, {**row, **source()}, COLUMNS)
