"""Train pose configurations over seeds and keep their scores; killed, the same command goes on."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningCLI

from callbacks import ExactResume
from callbacks.files.safe_files import write_whole_text
from callbacks.observer import callbacks_of
from callbacks.owner_of import masks_of
from callbacks.sparsity import multiply_adds
from lightning_modules import PartBasedPoseEstimator
from lightning_modules.pose.protocols import LSP, MPII, PoseProtocol

from ..run.configuration import RunCLI, seed_arguments
from ..run.provenance import provenance
from ..run.rows import CONFIGURATION, append_row, check_rows, read_rows, runs_without_rows, write_rows
from ..run.tracking import begin_runs, finish_wandb, set_wandb_mode
from ..run.yaml_files import configuration_hash
from .evaluate import Evaluation, evaluate
from .page import PARTS
from .pose_pictures import PosePictures
from .predictions import write_predictions
from .trained import predict_test

PROTOCOL_OF_DATA: dict[str, PoseProtocol] = {"LSP": LSP, "MPII": MPII, "SyntheticPose": LSP}
COLUMNS = [
    *(
        "config",
        CONFIGURATION,
        "data",
        "seed",
        "steps",
        "train_people",
        "test_people",
        "parameters",
        "gmac",
        "sparsity",
    ),
    *("active_gmac", "score", "low", "high", "score_no_flip", "mirrored_share", "either_side", "auc"),
    *(*PARTS, "minutes", "commit", "versions", "machine"),
]


class Minutes(pl.Callback):
    """A callback that counts the minutes of a fit, also over interruptions."""

    def __init__(self) -> None:
        self.earlier, self.begun = 0.0, time.perf_counter()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.begun = time.perf_counter()

    @property
    def total(self) -> float:
        """Return the minutes so far."""
        return self.earlier + (time.perf_counter() - self.begun) / 60

    def state_dict(self) -> dict[str, Any]:
        return {"minutes": self.total}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.earlier = state_dict["minutes"]


def reproduce(
    config: Path, seed: int, folder: Path, more: list[str]
) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Fit, or continue the fit that ``folder`` holds, and score the test people.

    Args:
        config: YAML file.
        seed: seed of network, data order and masks.
        folder: keeps ``last.ckpt``, written every 500 steps, and ``preds.npz`` in the end.
        more: arguments of the command line besides those in the file.

    Returns:
        The row of the run, and the alphas of its kinematic updates, in a row for each of at most 20 steps.
    """
    source = provenance()
    _check_folder(folder, configuration_hash(config, more))
    cli, minutes = _fit(config, seed, folder, more)
    protocol = PROTOCOL_OF_DATA[_data_name(cli)]
    evaluations = {}
    for flip in (False, True):
        cli.model.flip_test = flip
        predictions = predict_test(cli)
        evaluations[flip] = evaluate(predictions, protocol)
    write_predictions(predictions, folder / "preds.npz")
    row = {
        "config": config.stem,
        CONFIGURATION: configuration_hash(config, more),
        "data": protocol.name if _data_name(cli) == protocol.name else "drawn figures",
        "seed": seed,
        "steps": cli.trainer.global_step,
        "train_people": len(set(cli.datamodule.people("train").names)),
        "test_people": evaluations[True].people,
        **network_costs(cli),
        **_score_cells(evaluations[True], protocol),
        "score_no_flip": f"{next(iter(evaluations[False].scores.values())).percent:.2f}",
        "minutes": f"{minutes:.1f}",
        **source,
    }
    return row, [{"config": config.stem, "seed": seed, **alphas} for alphas in alpha_rows(cli)]


def _check_folder(folder: Path, configuration: str) -> None:
    """Refuse a folder with a fit of another configuration, and note of which this one is."""
    noted = folder.with_name(f"{folder.name}.configuration")  # beside the folder, which Lightning expects to be empty
    before = noted.read_text(encoding="utf-8").strip() if noted.is_file() else configuration
    if before != configuration:
        raise ValueError(
            f"{str(folder)!r} holds a fit of another configuration ({before} where this one is {configuration}): give "
            "--folder another folder"
        )
    write_whole_text(configuration + "\n", noted)


def _fit(config: Path, seed: int, folder: Path, more: list[str]) -> tuple[LightningCLI, float]:
    """Fit, or continue the fit that ``folder`` holds; return it with its minutes."""
    minutes = Minutes()
    saved = ModelCheckpoint(dirpath=folder, filename="last", save_top_k=1, every_n_train_steps=500, monitor=None)
    cli = RunCLI(
        PartBasedPoseEstimator,
        save_config_callback=None,
        trainer_defaults={"callbacks": [saved, minutes, ExactResume()]},
        args=["--config", str(config), *seed_arguments(config, seed), *more],
        run=False,
    )
    last = folder / "last.ckpt"
    begin_runs(cli.trainer)
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=last if last.is_file() else None, weights_only=True)
    return cli, minutes.total


def _data_name(cli: LightningCLI) -> str:
    return type(cli.datamodule).__name__.removesuffix("DataModule")


def _score_cells(evaluation: Evaluation, protocol: PoseProtocol) -> dict[str, str]:
    main, mirrored, either, auc = (
        next(score.percent for key, score in evaluation.scores.items() if key.startswith(start))
        for start in (protocol.measure, "mirrored_share", "either_side", "auc")
    )
    low, high = evaluation.interval_95
    return {
        "score": f"{main:.2f}",
        "low": f"{low:.1f}",
        "high": f"{high:.1f}",
        "mirrored_share": _shown(mirrored),
        "either_side": f"{either:.2f}",
        "auc": f"{auc:.2f}",
        **{part: _shown(evaluation.columns[part]) for part in PARTS},
    }


def _shown(percent: float | None) -> str:
    return "" if percent is None else f"{percent:.1f}"


def alpha_rows(cli: LightningCLI) -> list[dict[str, object]]:
    """Return the factors of the kinematic updates, step by step, as PosePictures kept them."""
    curves = next((c.alphas for c in callbacks_of(cli.trainer) if isinstance(c, PosePictures)), {})
    steps = list(next(iter(curves.values()), {}))
    kept = sorted({steps[round(index * (len(steps) - 1) / 19)] for index in range(20)}) if steps else []
    return [{"step": step, **{name: f"{curve[step]:.4f}" for name, curve in curves.items()}} for step in kept]


def network_costs(cli: LightningCLI) -> dict[str, object]:
    """Return the parameters of the network, and its multiply-adds with all and with the active weights."""
    network, size = cli.model.network, cli.model.input_size
    counts = multiply_adds(network, torch.zeros(1, 3, size, size, device=cli.model.device))
    masks = masks_of(cli.trainer)
    density = {name.removeprefix("network."): share for name, share in masks.density.items()}
    active = sum(count * density.get(name, 1.0) for name, count in counts.items())
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "gmac": f"{sum(counts.values()) / 1e9:.3f}",
        "sparsity": f"{masks.sparsity:.3f}",
        "active_gmac": f"{active / 1e9:.3f}",
    }


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``reproduce``."""
    parser = commands.add_parser("reproduce", help=__doc__, description=__doc__)
    parser.add_argument("configs", nargs="+", type=Path, help="YAML files of one data set")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one run of each file for each seed")
    parser.add_argument("--results", type=Path, required=True, help="CSV file, such as experiments/results/lsp.csv")
    parser.add_argument("--folder", type=Path, default=Path("runs/pose"), help="what the runs leave")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other arguments, without the dashes")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Train what has no row yet."""
    more = [f"--{argument}" for argument in chosen.set]
    check_rows(chosen.results, COLUMNS)
    for config, seed in runs_without_rows(chosen.configs, chosen.seeds, chosen.results, more):
        set_wandb_mode()
        folder = chosen.folder / config.parent.name / config.stem / str(seed)
        try:
            row, alphas = reproduce(config, seed, folder, more)
        finally:
            finish_wandb()
        beside = chosen.results.with_name(f"{chosen.results.stem}_alphas.csv")
        others = [other for other in read_rows(beside) if (other["config"], int(other["seed"])) != (config.stem, seed)]
        write_rows(beside, [*others, *alphas])
        append_row(chosen.results, row, COLUMNS)
