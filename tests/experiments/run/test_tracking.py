import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytorch_lightning as pl
import wandb
from fakes import write_mnist
from pytorch_lightning.loggers import WandbLogger
from wandb_files import read_run
from wandb_server import FAULTS, WandbServer

from experiments import cli
from experiments.run.tracking import begin_runs, finish_wandb, set_wandb_mode

CONFIG = Path(__file__).parents[3] / "experiments/configs/mnist/lenet5_rigl.yaml"

KEY = "0" * 40


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.setenv(name, "")  # so that what is set in a test is undone after it
        monkeypatch.delenv(name)
    wandb.teardown()
    yield
    wandb.teardown()  # it remembers the settings of this test


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A server that answers; closed again after the test."""
    listening = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", listening.address)
    yield listening
    listening.die()


def test_without_an_account_runs_stay_offline(server: WandbServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert set_wandb_mode() == "offline"
    assert (server.asked, capsys.readouterr().err) == ([], "")


def test_with_a_key_and_a_server_runs_are_online(server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert set_wandb_mode() == "online"


def test_a_login_in_netrc_counts(server: WandbServer, tmp_path: Path) -> None:
    machine = server.address.removeprefix("http://")  # as wandb login writes it
    (tmp_path / ".netrc").write_text(f"machine {machine} login user password {KEY}\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert set_wandb_mode() == "online"


def test_with_a_key_but_no_network_runs_stay_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    assert set_wandb_mode(timeout=0.5) == "offline"


@pytest.mark.parametrize("asked", ["disabled", "offline"])
def test_what_the_user_says_wins(
    asked: str, server: WandbServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fault = "500"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", asked)
    assert set_wandb_mode() == asked
    assert (server.asked, capsys.readouterr().err) == ([], "")


WHY = {
    "500": "answers 500",
    "401": "answers 401, it does not take the key",
    "nobody": "answers that it does not know the key",
    "HTML": "gives another answer than W&B, as the login page of a network does",
    "list": "gives another answer than W&B, as the login page of a network does",
    "elsewhere": "answers 302",
    "hangs": "gives no answer within 0.5 s",
}


@pytest.mark.parametrize("asked", [None, "online"])
@pytest.mark.parametrize("fault", WHY)
def test_a_server_that_is_no_use_is_told_in_a_line_and_runs_stay_offline(
    fault: str,
    asked: str | None,
    server: WandbServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.fault = fault
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    if asked:
        monkeypatch.setenv("WANDB_MODE", asked)
    assert set_wandb_mode(timeout=0.5 if fault == "hangs" else 5.0) == "offline"
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"W&B: {server.address} {WHY[fault]}. ")
    assert "`wandb sync FOLDER`" in line
    assert KEY not in line
    assert set_wandb_mode() == "offline"
    assert capsys.readouterr().err == "", "it is told once"


def test_every_fault_is_tried() -> None:
    assert {*FAULTS, "hangs"} == {*WHY, "runs fail"}


def test_a_server_that_never_speaks_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:  # it takes the connection, and says nothing
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        assert set_wandb_mode(timeout=0.2) == "offline"
    assert "gives no answer within 0.2 s" in capsys.readouterr().err


def test_what_cannot_be_a_key_is_told(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "short")
    assert set_wandb_mode() == "offline"
    [line] = capsys.readouterr().err.splitlines()
    assert "there is no valid key: WANDB_API_KEY invalid" in line
    assert server.asked == []


def test_a_server_that_turns_bad_is_noticed_before_the_next_run(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert set_wandb_mode() == "online"
    server.fault = "500"
    assert set_wandb_mode() == os.environ["WANDB_MODE"] == "offline"


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("quiet")
def test_a_fit_goes_on_offline_with_all_its_data(
    server: WandbServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.fault = "401"
    mnist = write_mnist(tmp_path / "mnist", train=64, test=16)
    data = [f"--data.init_args.root={mnist}", "--data.init_args.verify=false", "--data.init_args.batch_size=32"]
    fitted = cli.main(["fit", f"--config={CONFIG}", *data, "--trainer.max_steps=2", "--trainer.log_every_n_steps=1"])
    assert fitted.trainer.global_step == 2
    assert len([line for line in capfd.readouterr().err.splitlines() if "`wandb sync FOLDER`" in line]) == 1
    [path] = tmp_path.glob("runs/wandb/offline-run-*/*.wandb")
    found = read_run(path)
    assert found.config["method"] == "RigL"
    assert {row["trainer/global_step"] for row in found.rows if "train/loss" in row} == {0, 1}
    assert any("test/acc" in row for row in found.rows)


@pytest.mark.usefixtures("quiet")
def test_a_server_that_knows_the_account_but_lets_no_run_begin(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.fault = "runs fail"
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    assert set_wandb_mode() == "online"
    begin_runs(pl.Trainer(logger=WandbLogger(save_dir=tmp_path, project="p"), accelerator="cpu"))
    finish_wandb()
    assert os.environ["WANDB_MODE"] == "offline"
    assert {*server.asked} > {"Viewer"}
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len([line for line in capfd.readouterr().err.splitlines() if "does not let a run begin" in line]) == 1
