"""A fit with a Dashboard leaves a W&B run with everything in it; read back from the file of an offline run."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import wandb
from fits import TinyModule, fit, loader, trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger
from torch.optim import SGD
from wandb_files import RunFile, read_run
from wandb_server import WandbServer

from callbacks import GradientFlowMonitor, HessianSpectrum, RigL, TrainingFlops, read_masks
from callbacks.sparsity import Constant, LanczosSpectrum, UpdateWindow
from experiments.dashboard import Dashboard
from experiments.dashboard.metrics import STEP, SUMMARIES
from experiments.run.tracking import finish_wandb
from lightning_modules import SparseClassifier

ROOT = Path(__file__).parents[3]
CONFIG = {"seed_everything": 7, "trainer": {"max_steps": 24, "callbacks": [{"class_path": "callbacks.RigL"}]}}
FREE = float  # a clock that stands still at 0.0: whatever is done takes no time
CHARTS = {"gradient_flow", "mask_churn", "mask_density", "weights", "gradients", "hessian"}


@dataclass
class Fitted:
    file: RunFile
    folder: Path
    summary: dict[str, Any]
    owner: RigL

    def artifact(self, kind: str, alias: str) -> Path:
        """The one file in an artifact."""
        [found] = [a for a in self.file.artifacts if a.type == kind and alias in a.aliases]
        [entry] = found.manifest.contents
        return Path(entry.local_path)


def offline(folder: Path, **arguments: Any) -> WandbLogger:
    named = {"project": "p", "group": "study", "job_type": "RigL", "name": "rigl-seed7", **arguments}
    return WandbLogger(save_dir=folder, mode="offline", settings={"silent": True}, **named)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    folder = tmp_path_factory.mktemp("dashboard")
    owner = RigL(0.8, drop_fraction=Constant(0.3), window=UpdateWindow(every=4))
    callbacks = [
        GradientFlowMonitor(every_n_steps=4, probe_batch=16),
        TrainingFlops(),
        HessianSpectrum(every_n_steps=12, probe_batch=16, method=LanczosSpectrum(steps=6, probes=1)),
        ModelCheckpoint(folder / "checkpoints", monitor="val/loss", save_last=True),
        Dashboard(CONFIG, every_n_steps=2, pictures=3, clock=FREE),
        owner,
    ]
    module = SparseClassifier(TinyModule().network, 5, optimizer=lambda parameters: SGD(parameters, lr=0.05))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        for message in (".*does not have many workers.*", ".*treespec, LeafSpec.*"):
            warnings.filterwarnings("ignore", message=message)  # as conftest.py does for each test
        patch.setenv("WANDB_DATA_DIR", str(folder / "data"))
        patch.setenv("WANDB_MODE", "offline")
        logger = offline(folder)
        try:
            fitting = trainer(callbacks, logger=logger, enable_checkpointing=True)
            fitting.fit(module, loader(), loader())
            summary = {key: dict(v) if hasattr(v, "keys") else v for key, v in dict(logger.experiment.summary).items()}
        finally:
            finish_wandb()
            wandb.teardown()  # all is written then
    [path] = folder.glob("wandb/offline-run-*/*.wandb")
    return Fitted(read_run(path), path.parent, summary, owner)


def test_every_documented_key_is_there_over_optimizer_steps(fitted: Fitted) -> None:
    text = (ROOT / "README.md").read_text()
    section = text[text.index("### What is logged") : text.index("### What it costs")]
    documented = set(re.findall(r"`((?:sparsity|grad_flow|hessian)/[\w/]+)`", section))
    assert len(documented) > 12
    assert documented <= set(SUMMARIES)
    assert documented - {"sparsity/deferred"} <= fitted.file.keys  # which needs gradients that are not finite
    assert {"train/loss", "val/loss", "val/acc"} <= fitted.file.keys
    for row in fitted.file.rows:
        assert STEP in row or not row.keys() & documented


def test_axes_and_summaries_are_defined(fitted: Fitted) -> None:
    metrics = fitted.file.metrics
    assert set(SUMMARIES) <= set(metrics)
    assert {metrics[name].step_metric for name in SUMMARIES} == {STEP}
    assert metrics["val/acc"].summary.max
    assert metrics["val/loss"].summary.min
    accuracies = [row["val/acc"] for row in fitted.file.rows if "val/acc" in row]
    assert fitted.summary["val/acc"] == {"max": pytest.approx(max(accuracies))}
    assert fitted.summary["sparsity/actual"] == pytest.approx(fitted.owner.masks.sparsity)
    assert fitted.summary["sparsity/train_flops"] > 0


def test_runs_are_grouped_and_their_configuration_is_complete(fitted: Fitted) -> None:
    run, config = fitted.file.run, fitted.file.config
    assert (run.run_group, run.job_type, run.display_name) == ("study", "RigL", "rigl-seed7")
    assert (config["study"], config["method"], config["seed"]) == ("study", "RigL", 7)
    assert {key: config[key] for key in CONFIG} == CONFIG


def test_pictures_are_drawn_during_the_run_and_at_its_end(fitted: Fitted) -> None:
    steps = {name: [r[STEP] for r in fitted.file.rows if f"charts/{name}" in r] for name in CHARTS}
    assert steps["mask_density"] == steps["gradient_flow"] == steps["weights"] == [0, 8, 16, 24]
    assert steps["gradients"] == [0, 8, 16]  # at the end there are none that are dense
    assert steps["mask_churn"] == [8, 16, 24]
    assert steps["hessian"] == [0, 16, 24]  # measured at 0, 12, 24
    files = list((fitted.folder / "files").rglob("*.plotly.json"))
    assert {path.name.rsplit("_", 2)[0] for path in files} == CHARTS
    assert not any("bdata" in path.read_text() for path in files)


def test_the_masks_can_be_read_back(fitted: Fitted) -> None:
    masks = read_masks(fitted.artifact("masks", "last"))
    assert masks.digest() == fitted.owner.masks.digest()


def test_checkpoints_have_their_aliases(fitted: Fitted) -> None:
    best, last = (torch.load(fitted.artifact("model", name), weights_only=True) for name in ("best", "last"))
    assert last["global_step"] == 24
    assert best["global_step"] <= 24
    assert {a.name for a in fitted.file.artifacts if a.type == "model"} == {f"model-{fitted.file.run.run_id}"}


# --- what must not happen --------------------------------------------------------------------------


def test_nothing_happens_without_wandb_on_other_ranks_and_when_it_is_disabled(tmp_path: Path) -> None:
    fit(TinyModule(), [RigL(0.5), Dashboard()])
    logger = offline(tmp_path)
    rank = SimpleNamespace(loggers=[logger], is_global_zero=False)
    Dashboard().setup(rank, TinyModule(), "fit")  # type: ignore[arg-type]
    assert logger._experiment is None
    disabled = WandbLogger(save_dir=tmp_path, mode="disabled")
    fit(TinyModule(), [RigL(0.5), Dashboard()], logger=disabled)
    assert not disabled.experiment.summary.keys() & {"charts/weights"}
    finish_wandb()


class Slow:
    """A clock on which every look takes a second."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1.0
        return self.seconds


class Sent(WandbLogger):
    """Keeps what is logged instead of sending it; fails after so many times."""

    def __init__(self, fails_after: float = float("inf")) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self.fails_after = fails_after
        run = SimpleNamespace(disabled=False, group="g", project="p", job_type=None, config=wandb.Config(), id="x")
        run.define_metric = run.log_artifact = lambda *_, **__: None
        self._experiment = run  # type: ignore[assignment]

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if len(self.rows) >= self.fails_after:
            raise ConnectionResetError("Connection lost")
        self.rows.append({**metrics, STEP: step})

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass

    def pictures(self) -> list[int]:
        return [row[STEP] for row in self.rows if "charts/weights" in row]


@pytest.fixture
def drawn_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb, "Plotly", lambda figure: figure)


@pytest.mark.usefixtures("drawn_nowhere")
def test_without_time_there_is_the_first_picture_and_the_last() -> None:
    logger = Sent()
    dashboard = Dashboard(every_n_steps=1, clock=Slow())
    fit(TinyModule(), [RigL(0.5, window=UpdateWindow(every=2)), dashboard], logger=logger)
    assert logger.pictures() == [0, 24]
    assert dashboard.budget.spent == 2.0  # gradient flow, once, and pictures
    dense = Sent()
    fit(TinyModule(), [Dashboard(pictures=2, clock=FREE)], logger=dense)
    assert dense.pictures() == [0, 12, 24]
    assert dense.experiment.config["method"] == "dense"


@pytest.mark.usefixtures("drawn_nowhere")
def test_a_logger_that_fails_is_warned_of_once_and_training_goes_on() -> None:
    logger = Sent(fails_after=5)
    module = TinyModule()
    with pytest.warns(UserWarning, match="W&B failed .ConnectionResetError.*the run goes on") as caught:
        fitted = fit(module, [RigL(0.5), Dashboard(clock=FREE)], logger=logger)
    assert len([w for w in caught if "W&B failed" in str(w.message)]) == 1
    assert (fitted.global_step, len(logger.rows)) == (24, 5)


@pytest.mark.long  # the client tries on for a while
def test_a_server_that_dies_does_not_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    server = WandbServer()

    class Death(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
            if trainer.global_step == 8:
                server.die()

    settings = {"base_url": server.address, "api_key": "0" * 40, "finish_timeout": 0.5, "silent": True}
    logger = WandbLogger(save_dir=tmp_path, mode="online", project="p", settings=settings)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="W&B failed")  # its client may tell, or try on by itself
            fitted = fit(TinyModule(), [RigL(0.5), Dashboard(pictures=4, clock=FREE), Death()], logger=logger)
            finish_wandb()
        assert "UpsertBucket" in server.asked
        assert not server.alive
        assert fitted.global_step == 24
    finally:
        server.die()
        wandb.teardown()  # the session remembers the account
    [path] = tmp_path.glob("wandb/run-*/*.wandb")
    found = read_run(path)
    assert max(row[STEP] for row in found.rows if "charts/weights" in row) == 24  # kept here for wandb sync


@pytest.mark.parametrize("arguments", [{"every_n_steps": 0}, {"pictures": 0}, {"share": 2.0}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    [name] = arguments
    with pytest.raises(ValueError, match=f"{name} is"):
        Dashboard(**arguments)
