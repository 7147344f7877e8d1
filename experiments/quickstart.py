"""Train three short runs on MNIST that show the gradient-flow paper: ``make quickstart``.

A LeNet-5 that is 95 % sparse hardly trains from an ordinary initialization: almost no gradient reaches its
weights. The sparsity-aware initialization repairs that, and RigL moves the connections to where the gradient is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import CSVLogger, WandbLogger
from rich.console import Console
from rich.table import Table

from callbacks import GradientFlowMonitor, MaskOwner, RigL, SparseTraining, TrainingFlops
from callbacks.sparsity import Initialization, KeepValues, UnitScaled
from datamodules import MNISTDataModule
from lightning_modules import SparseClassifier
from lightning_modules.networks import LeNet5

from .dashboard import Dashboard
from .report.metrics_file import read_metrics
from .report.write import write_report
from .run.command import command_parser, run_old_form
from .run.console_tables import sparsity_table
from .run.progress import with_bars
from .run.rows import append_row
from .run.run_record import RunRecord
from .run.tracking import begin_runs, finish_wandb, set_wandb_mode

FOLDER = Path("runs/quickstart")
COLUMNS = ["arm", "init", "method", "sparsity", "seed", "steps", "grad_norm_at_100", "test_acc"]
SPARSITY, SEED, STEPS = 0.95, 0, 1200


@dataclass(frozen=True)
class Arm:
    name: str
    method: Callable[..., MaskOwner]
    initialization: Initialization


ARMS = [
    Arm("scratch", SparseTraining, KeepValues()),
    Arm("scratch+", SparseTraining, UnitScaled()),
    Arm("rigl+", RigL, UnitScaled()),
]


def train(
    arm: Arm, *, steps: int = STEPS, folder: Path = FOLDER, **data: Any
) -> tuple[dict[str, object], dict[int, float], Path]:
    """Train one arm, and return its row of results.csv, its gradient norms and its folder.

    Args:
        arm: the arm to train.
        steps: optimizer steps.
        folder: the folder to write to.
        data: arguments of MNISTDataModule.
    """
    pl.seed_everything(SEED, verbose=False)
    module = SparseClassifier(
        LeNet5(),
        num_classes=10,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-3),
        scheduler=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
    )
    sparse = arm.method(sparsity=SPARSITY, initialization=arm.initialization, seed=SEED)
    log = CSVLogger(folder, name=arm.name)
    trainer = _make_trainer(arm, steps, sparse, log, folder)
    mnist = MNISTDataModule(**{"val_size": 5000, "seed": SEED, **data})
    begin_runs(trainer)
    trainer.fit(module, mnist)
    score = trainer.test(module, mnist, verbose=False)[0]
    finish_wandb()
    norms = gradient_norms(Path(log.log_dir))
    row = {
        "arm": arm.name,
        "init": type(arm.initialization).__name__,
        "method": arm.method.__name__,
        "sparsity": f"{sparse.masks.sparsity:.4f}",
        "seed": SEED,
        "steps": trainer.global_step,
        "grad_norm_at_100": f"{norms[100]:.4f}",
        "test_acc": f"{score['test/acc']:.4f}",
    }
    Console().print(sparsity_table(sparse.masks), crop=False)
    return row, norms, Path(log.log_dir)


def _make_trainer(arm: Arm, steps: int, sparse: MaskOwner, log: CSVLogger, folder: Path) -> pl.Trainer:
    set_wandb_mode()
    wandb = WandbLogger(
        project="sparse-lightning",
        group="quickstart",
        job_type=arm.name,
        name=f"{arm.name}-seed{SEED}",
        save_dir=folder,
        settings={"quiet": True},
    )
    monitors = [GradientFlowMonitor(every_n_steps=20, per_layer=True, probe_batch=1000), TrainingFlops()]
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        logger=[log, wandb],
        callbacks=[*monitors, sparse, RichProgressBar(), RunRecord(), Dashboard()],
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    return with_bars(trainer)


def gradient_norms(run: Path) -> dict[int, float]:
    """Return the norm of the active gradient on 1,000 fixed training samples by step, from a run's metrics.csv."""
    curve = read_metrics(run / "metrics.csv")[0]["grad_flow/probe"]
    return dict(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))


def plot_gradient_flow(curves: Mapping[str, Mapping[int, float]], path: Path) -> None:
    """Draw the gradient norm over optimizer steps on a log scale, with a line for each run."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        axes.plot(list(curve), list(curve.values()), label=name, linewidth=1.5)
    axes.set_yscale("log")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("norm of the active gradient, 1,000 samples")
    axes.set_title("Gradient flow of a sparse LeNet-5 on MNIST")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main(args: Sequence[str] | None = None) -> None:
    command_parser("quickstart", __doc__).parse_args(args)
    console = Console()
    console.print(f"W&B is {set_wandb_mode()}; everything is written to {FOLDER}/")
    results = FOLDER / "results.csv"
    results.unlink(missing_ok=True)
    norms, runs = {}, []
    table = Table(title=f"LeNet-5 on MNIST at {SPARSITY:.0%} sparsity, {STEPS} steps")
    columns = ["arm", "method", "init", "grad_norm_at_100", "test_acc"]
    for column in columns:
        table.add_column(column)
    for arm in ARMS:
        console.rule(f"{arm.name}: {arm.method.__name__}, {arm.initialization}")
        row, norms[arm.name], run = train(arm)
        runs.append(run)
        append_row(results, row, COLUMNS)
        table.add_row(*(str(row[column]) for column in columns))
    plot_gradient_flow(norms, FOLDER / "gradient_flow.png")
    report = write_report(runs, FOLDER / "report.html", "LeNet-5 on MNIST, 95 % sparse")
    console.print(table)
    console.print(f"results: {results}\npicture: {FOLDER / 'gradient_flow.png'}\nreport: {report}")


if __name__ == "__main__":
    run_old_form("quickstart", main)
