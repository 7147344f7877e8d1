"""What is said of YAML files that cannot be read, or are of no run."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import write_mnist

from experiments import cli
from experiments.run.configuration import seed_arguments
from experiments.run.trained import load_trained
from lightning_modules.networks import LeNet5


@pytest.fixture
def config(tmp_path: Path) -> Path:
    torch.save({"state_dict": {}}, tmp_path / "last.ckpt")
    return tmp_path / "config.yaml"


def test_a_damaged_configuration_is_named(config: Path) -> None:
    config.write_text("model: [half a li")
    with pytest.raises(ValueError, match=r"config\.yaml cannot be read as YAML: while parsing a flow sequence"):
        load_trained(config.with_name("last.ckpt"))
    with pytest.raises(ValueError, match=r"config\.yaml cannot be read as YAML: while parsing a flow sequence"):
        seed_arguments(config, 0)


@pytest.mark.parametrize("content", ["", "- a", "model: {}"])
def test_a_file_that_configures_no_run_is_named(config: Path, content: str) -> None:
    config.write_text(content)
    with pytest.raises(ValueError, match=r"config\.yaml' is not the configuration of a run: it needs model and data"):
        load_trained(config.with_name("last.ckpt"))


@pytest.mark.parametrize("content", ["", "model: {}", "trainer: {}", "trainer: {callbacks: []}"])
def test_without_callbacks_no_masks_are_seeded(config: Path, content: str) -> None:
    config.write_text(content)
    assert seed_arguments(config, 3) == ["--seed_everything=3", "--data.init_args.seed=3"]


# --- what files that somebody sent may name -----------------------------------------------------


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a run whose files name code beside them; importing it leaves a file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # as for python -m
    (tmp_path / "evil.py").write_text(
        "from pathlib import Path\nfrom lightning_modules import SparseClassifier\n"
        "Path('imported').touch()\nclass Net(SparseClassifier):\n    pass\n"
    )
    yield tmp_path
    sys.modules.pop("evil", None)


MODEL = {"network": {"class_path": "lightning_modules.networks.LeNet5"}, "num_classes": 10}


def write_sent(folder: Path, settings: dict[str, Any], **more: Any) -> Path:
    (folder / "config.yaml").write_text(json.dumps(settings))
    weights = {f"network.{name}": weight for name, weight in LeNet5().state_dict().items()}
    torch.save({"state_dict": weights, "pytorch-lightning_version": "2.6.0", **more}, folder / "last.ckpt")
    return folder / "last.ckpt"


def settings_of(model: str = "lightning_modules.SparseClassifier") -> dict[str, Any]:
    return {"model": {"class_path": model, "init_args": MODEL}, "data": {"class_path": "datamodules.MNISTDataModule"}}


def test_a_configuration_that_was_sent_names_no_code_of_its_own(sent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = write_sent(sent, settings_of("evil.Net"))
    said = r"config.yaml' names 'evil.Net', which is imported from '.*evil.py', outside this project and the installed"
    with pytest.raises(ValueError, match=f"{said}.*: give --trust if you trust whoever wrote these files"):
        load_trained(checkpoint)
    assert not (sent / "imported").exists()
    assert type(load_trained(checkpoint, trust=True).model).__name__ == "Net"
    assert re.search(said, capsys.readouterr().err)


def test_a_configuration_that_is_given_names_any_code(sent: Path) -> None:
    checkpoint = write_sent(sent, settings_of("evil.Net"))
    assert type(load_trained(checkpoint, sent / "config.yaml").model).__name__ == "Net"


@pytest.mark.parametrize("where", ["network", "optimizer"])
def test_code_is_found_wherever_it_is_named(sent: Path, where: str) -> None:
    settings = settings_of()
    settings["model"]["init_args"] = {**MODEL, where: {"class_path": "evil.Net"} if where == "network" else "evil.make"}
    with pytest.raises(ValueError, match=r"names 'evil\.\w+', which is imported"):
        load_trained(write_sent(sent, settings))
    assert not (sent / "imported").exists()


def test_a_configuration_that_was_sent_names_no_other_file(sent: Path) -> None:
    (sent / "model.yaml").write_text(json.dumps(settings_of("evil.Net")["model"]))
    with pytest.raises(ValueError, match="names 'model.yaml', a file with more settings: give --trust"):
        load_trained(write_sent(sent, {**settings_of(), "model": "model.yaml"}))


def test_what_is_installed_or_of_the_project_may_be_named(sent: Path) -> None:
    settings = settings_of()
    settings["model"]["init_args"] = {**MODEL, "optimizer": {"class_path": "torch.optim.Adam"}}
    assert type(load_trained(write_sent(sent, settings)).model).__name__ == "SparseClassifier"


def test_a_checkpoint_that_was_sent_names_no_code_of_its_own(sent: Path) -> None:
    checkpoint = write_sent(sent, settings_of(), hyper_parameters={"_class_path": "evil.Net", **MODEL})
    data = write_mnist(sent / "mnist", train=16, test=16)
    command = ["test", "--model=SparseClassifier", "--model.network=LeNet5", "--model.num_classes=10"]
    command += ["--data=MNISTDataModule", f"--data.root={data}", "--data.verify=false", f"--ckpt_path={checkpoint}"]
    command += ["--trainer.logger=false", "--trainer.accelerator=cpu"]
    with pytest.raises(ValueError, match=r"last.ckpt' names 'evil.Net', which is imported from '.*evil.py', outside"):
        cli.main(command)
    assert not (sent / "imported").exists()
