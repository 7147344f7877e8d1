"""Every YAML runs, as a user runs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from fakes import write_cifar10, write_cifar100, write_imagenet, write_lsp, write_lspet, write_mnist, write_mpii_json

from callbacks import MaskOwner
from callbacks.observer import callbacks_of
from experiments.cli import SparseCLI, main

ROOT = Path(__file__).parents[2]
# those with a lottery have a command of their own: test_lottery_command.py
CONFIGS = [
    path for path in sorted((ROOT / "experiments" / "configs").rglob("*.yaml")) if "\nlottery:" not in path.read_text()
]


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mnist")
    write_mnist(root, train=300, test=64)
    return root


@pytest.fixture(scope="module")
def fake_data(tmp_path_factory: pytest.TempPathFactory, mnist: Path) -> dict[str, list[str]]:
    """Folder of a configuration -> arguments that give it tiny data."""
    root = tmp_path_factory.mktemp("poses")
    write_lsp(root), write_lspet(root)
    write_mpii_json(root / "mpii", {"train": 6, "valid": 4})
    small = ["--data.init_args.input_size=64", "--data.init_args.batch_size=4", "--data.init_args.num_workers=0"]
    cifar = [f"--data.init_args.root={root}", "--data.init_args.verify=false", "--data.init_args.batch_size=8"]
    write_cifar10(root), write_cifar100(root), write_imagenet(root / "imagenet")
    photos = [f"--data.init_args.root={root / 'imagenet'}", "--data.init_args.input_size=32"]
    photos += ["--data.init_args.batch_size=4", "--model.init_args.network.init_args.width=0.25"]
    photos += ["--data.init_args.num_workers=0", "--trainer.devices=1", "--trainer.strategy=auto"]
    drawn = ["--data.init_args.train_size=8", "--data.init_args.val_size=4", "--data.init_args.test_size=4"]
    return {
        "cifar10": cifar,
        "cifar100": cifar,
        "imagenet": photos,
        "mnist": [f"--data.init_args.root={mnist}", "--data.init_args.verify=false"],
        "lsp": [f"--data.init_args.root={root}", "--data.init_args.val_size=2", *small],
        "mpii": [f"--data.init_args.root={root / 'mpii'}", *small],
        "synthetic_pose": [*drawn, *small],
    }


@pytest.fixture
def fit_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments of other commands, which would take a fifth of the time, are not made."""
    every = SparseCLI.subcommands()
    monkeypatch.setattr(SparseCLI, "subcommands", staticmethod(lambda: {"fit": every["fit"]}))


def run(command: str, config: Path, root: Path, *more: str):
    return main(
        [command, f"--config={config}", f"--data.init_args.root={root}", "--data.init_args.verify=false", *more]
    )


def test_there_is_a_configuration_for_every_method_and_network() -> None:
    names = {config.stem for config in CONFIGS}
    assert {
        f"{net}_{method}" for net in ("lenet5", "lenet300100") for method in ("static", "set", "rigl", "gmp")
    } <= names


METHODS = ("static", "set", "rigl", "srigl", "gmp", "nm", "groups", "snfs", "granet", "topkast")


def kind_of(config: Path) -> tuple[str, ...]:
    """Data set, network and method; what else a name has are numbers, distributions and lengths."""
    words = config.stem.split("_")
    end = next((place for place, word in enumerate(words) if word in METHODS), len(words))
    return config.parent.name, *(word for word in words[: end + 1] if not word[0].isdigit())


KINDS: dict[tuple[str, ...], list[Path]] = {}
for path in CONFIGS:
    KINDS.setdefault(kind_of(path), []).append(path)
FITTED = [paths[0] for paths in KINDS.values()]
name_of = {path: f"{path.parent.name}-{path.stem}" for path in CONFIGS}.__getitem__


def check_owners(config: Path, cli: SparseCLI) -> list[MaskOwner]:
    owners = [callback for callback in callbacks_of(cli.trainer) if isinstance(callback, MaskOwner)]
    assert len(owners) == any(method in config.stem for method in METHODS)
    for percent in re.findall(r"_(\d\d+)(?:_|$)", config.stem) if owners else ():
        assert owners[0].parts[0].method.sparsity == pytest.approx(float(f"0.{percent}"), abs=1e-9)
    return owners


@pytest.mark.usefixtures("fit_alone")
@pytest.mark.parametrize("config", [path for path in CONFIGS if path not in FITTED], ids=name_of)
def test_every_configuration_is_made(
    config: Path, fake_data: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others of the same data set, network and method are fitted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SparseCLI, "_run_subcommand", lambda *_: None)
    cli = main(["fit", f"--config={config}", *fake_data[config.parent.name], "--trainer.fast_dev_run=true"])
    check_owners(config, cli)
    optimizers = cli.model.configure_optimizers()
    assert optimizers["optimizer"] if isinstance(optimizers, dict) else optimizers


@pytest.mark.usefixtures("fit_alone")
@pytest.mark.filterwarnings("ignore:.*split of Tompson")  # the fakes are fewer
@pytest.mark.parametrize("config", FITTED, ids=name_of)
def test_every_configuration_runs(
    config: Path,
    fake_data: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    cli = main(["fit", f"--config={config}", *fake_data[config.parent.name], "--trainer.fast_dev_run=true"])
    scores = {"lsp": "test/pck@0.2", "synthetic_pose": "test/pck@0.2", "mpii": "test/pckh@0.5"}
    assert scores.get(config.parent.name, "test/acc") in cli.trainer.callback_metrics
    for owner in check_owners(config, cli):
        for part in owner.parts:
            # less than a weight for each of 236 neurons of 44,190; uniform leaves the first layer dense
            rounded = 6e-3 if "srigl" in config.stem else 2e-3 if "uniform" in config.stem else 1e-3
            assert part.masks.sparsity == pytest.approx(part.method.sparsity, abs=rounded)
        printed = capsys.readouterr().out
        assert "Sparse weights" in printed
        assert next(iter(owner.masks)) in printed
        assert f" {owner.masks.size:,} " in printed, "wide tables are whole"


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # the test run gets a version of its own
def test_arguments_override_the_file_and_a_run_leaves_its_results(
    mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = ROOT / "experiments/configs/mnist/lenet5_rigl.yaml"
    short = ["--trainer.max_steps=8", "--data.init_args.batch_size=32", "--trainer.callbacks.window.every=3"]
    cli = run("fit", config, mnist, *short, "--trainer.callbacks.sparsity=0.8", "--seed_everything=7")
    owner = next(callback for callback in callbacks_of(cli.trainer) if isinstance(callback, MaskOwner))
    assert owner.masks.sparsity == pytest.approx(0.8, abs=1e-3)
    [metrics] = tmp_path.glob("runs/lenet5_rigl/version_*/metrics.csv")
    header = set(metrics.read_text().splitlines()[0].split(","))
    assert {"grad_flow/active", "sparsity/actual", "sparsity/churn", "test/acc"} <= header
    [saved] = tmp_path.glob("runs/**/config.yaml")
    assert "class_path: callbacks.RigL" in saved.read_text()
    [checkpoint] = tmp_path.glob("runs/**/*.ckpt")
    assert "SparseTraining" in torch.load(checkpoint, weights_only=True)["callbacks"]
    tested = run("test", config, mnist, f"--ckpt_path={checkpoint}")
    assert tested.trainer.callback_metrics["test/acc"] == cli.trainer.callback_metrics["test/acc"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--trainer.callbacks.sparsity=1.5", "sparsity is 1.5"),
        ("--trainer.callbacks.sparsty=0.5", "sparsty"),
        ("--data.init_args.batch_size=0", "batch_size"),
    ],
)
def test_wrong_arguments_are_named(
    argument: str, message: str, mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((SystemExit, ValueError)) as caught:
        run("fit", ROOT / "experiments/configs/mnist/lenet5_rigl.yaml", mnist, "--trainer.fast_dev_run=true", argument)
    assert message in capsys.readouterr().err + str(caught.value)


def test_print_config_prints_a_file_that_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def printed(config: Path, *more: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(["fit", f"--config={config}", *more, "--print_config"])
        assert end.value.code in (0, None)
        return capsys.readouterr().out

    changed = "--trainer.callbacks.sparsity=0.8"
    text = printed(ROOT / "experiments/configs/mnist/lenet5_rigl.yaml", changed)
    (tmp_path / "printed.yaml").write_text(text)
    assert printed(tmp_path / "printed.yaml") == text
    callbacks = yaml.safe_load(text)["trainer"]["callbacks"]
    assert callbacks[-1]["class_path"] == "callbacks.RigL"
    assert callbacks[-1]["init_args"]["sparsity"] == 0.8
