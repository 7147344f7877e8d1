"""Runs of the command line arrive in W&B grouped by study, method and seed, and a lottery as a line of artifacts."""

from __future__ import annotations

from pathlib import Path

import pytest
import wandb
from fakes import write_mnist
from wandb_files import RunFile, read_run

from experiments.cli import main
from experiments.lottery import main as lottery

CONFIGS = Path(__file__).parents[3] / "experiments/configs/mnist"
SHORT = ["--trainer.log_every_n_steps=1", "--data.init_args.batch_size=16", "--data.init_args.verify=false"]


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    wandb.teardown()  # its service takes paths from where it was started
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    offline = "--trainer.logger.mode=offline"  # of the last logger
    monkeypatch.setenv("WANDB_SILENT", "true")
    return [*SHORT, offline, f"--data.init_args.root={write_mnist(tmp_path / 'mnist', train=96, test=32)}"]


def runs(folder: Path) -> dict[str, RunFile]:
    wandb.teardown()  # all is written then
    found = [read_run(path) for path in sorted(folder.glob("runs/wandb/offline-run-*/*.wandb"))]
    return {file.run.display_name: file for file in found}


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_run_is_named_by_study_method_and_seed(short: list[str], tmp_path: Path) -> None:
    config = CONFIGS / "lenet5_rigl.yaml"
    main(["fit", f"--config={config}", "--trainer.callbacks.sparsity=0.8", *short, "--trainer.max_steps=4"])
    [(name, file)] = runs(tmp_path).items()
    assert (name, file.run.run_group, file.run.job_type) == ("lenet5_rigl-seed0", "mnist/lenet5", "RigL")
    owner = file.config["trainer"]["callbacks"][-1]
    assert (owner["class_path"], owner["init_args"]["sparsity"]) == ("callbacks.RigL", 0.8)
    assert file.config["data"]["init_args"]["batch_size"] == 16
    [saved] = tmp_path.glob("runs/lenet5_rigl/version_0/config.yaml")
    main(["fit", f"--config={saved}", "--seed_everything=3", "--trainer.max_steps=1"])  # a run again, with another seed
    assert set(runs(tmp_path)) == {"lenet5_rigl-seed0", "lenet5_rigl-seed3"}
    assert runs(tmp_path)["lenet5_rigl-seed3"].config["seed"] == 3


def test_a_lottery_is_a_line_from_pretraining_over_pruning_to_the_ticket(short: list[str], tmp_path: Path) -> None:
    arguments = ["--lottery.folder=lot", "--lottery.runs=1", "--lottery.pruning.init_args.window.every=2"]
    one = '--lottery.retraining=[{"class_path": "callbacks.WeightRewinding"}]'
    lottery([f"--config={CONFIGS / 'lenet5_lottery.yaml'}", *short, *arguments, one, "--trainer.max_steps=12"])
    files = runs(tmp_path)
    line = [f"lenet5_lottery/{part}-seed0" for part in ("pretrain", "level-1/weights/ticket", "level-1/weights/run-0")]
    assert set(files) == set(line)
    pretrain, prune, train = (
        {(a.name, a.digest): a.use_after_commit for a in files[name].artifacts if a.type != "masks"} for name in line
    )
    assert [files[name].run.job_type for name in line] == ["GradualPruning", "prune", "weights"]
    assert {name for name, _ in pretrain} == {"lot-pretrain-end.ckpt", "lot-pretrain-start.ckpt"}
    assert not any(pretrain.values())
    used = {artifact for artifact, is_used in prune.items() if is_used}
    assert used == set(pretrain)  # by name and by content
    [ticket] = prune.keys() - used
    assert ticket[0] == "lot-level-1-weights-ticket.ckpt"
    assert train[ticket]
    assert [name for name, _ in train.keys() - {ticket}] == ["lot-level-1-weights-run-0-end.ckpt"]
