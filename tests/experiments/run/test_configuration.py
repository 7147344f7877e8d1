"""What is said of YAML files that cannot be read, or are of no run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiments.run.configuration import seed_arguments
from experiments.run.trained import load_trained


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
