"""python -m experiments sweep: every combination a run of its own, which goes on after a kill."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fakes import write_mnist

from experiments import cli
from experiments.report.runs import find_runs
from experiments.sweep.command import main as run_sweep
from experiments.sweep.command import train
from experiments.sweep.sweep_file import Combination, Sweep, command_arguments, read_sweep
from experiments.sweep.sweep_run import SweepRun
from lightning_modules import SparseClassifier

ROOT = Path(__file__).parents[3]
SWEEPS = sorted((ROOT / "experiments" / "sweeps").glob("*.yaml"))
CONFIG = ROOT / "experiments/configs/mnist/lenet5_rigl.yaml"

FIT = """
import json, pathlib, sys
place = json.loads(next(a for a in sys.argv if a.startswith("--trainer.logger=")).partition("=")[2])["init_args"]
folder = pathlib.Path(place["save_dir"], place["name"], place["version"])
folder.mkdir(parents=True)
print(*sys.argv[1:], sep="\\n")
score = float(next(a for a in sys.argv if a.startswith("--trainer.callbacks.sparsity=")).partition("=")[2])
if score == 0.5:
    raise SystemExit("there is no space left")
record = {"name": "a", "method": "RigL", "minutes": 2, "status": "finished", "scores": {"test/acc": score}}
(folder / "run.json").write_text(json.dumps(record))
"""


@pytest.fixture
def fake_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit that takes no time: says its arguments, fails at a sparsity of 0.5, and else scores its sparsity."""
    (tmp_path / "fit.py").write_text(FIT)
    start = subprocess.Popen

    def short(command: list[str], **arguments: Any) -> subprocess.Popen[bytes]:
        assert command[:4] == [sys.executable, "-m", "experiments", "fit"]
        return start([sys.executable, "-S", "-E", str(tmp_path / "fit.py"), *command[4:]], **arguments)

    monkeypatch.setattr("experiments.sweep.sweep_run.subprocess.Popen", short)


def write(folder: Path, **parameters: Any) -> Path:
    path = folder / "mine.yaml"
    every = {"config": {"value": str(CONFIG)}, **parameters}
    command = ["python", "-m", "experiments", "fit", "${args}"]
    path.write_text(yaml.safe_dump({"command": command, "method": "grid", "parameters": every}, sort_keys=False))
    return path


def sparsities(*values: float) -> dict[str, Any]:
    return {"trainer.callbacks.sparsity": {"values": list(values)}}


@pytest.mark.usefixtures("fake_fit")
def test_a_failing_run_is_reported_the_others_go_on_and_a_restart_does_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    file, folder = write(tmp_path, **sparsities(0.8, 0.5, 0.9)), tmp_path / "runs"
    command = [str(file), "--processes", "2", "--folder", str(folder), "--seeds", "3", "4"]
    with pytest.raises(RuntimeError, match="2 of 6 runs failed: sparsity=0.5/version_3, sparsity=0.5/version_4"):
        run_sweep(command)
    said = capsys.readouterr().out
    assert "sparsity=0.5/version_3 failed with exit code 1; the end of" in said
    assert "  there is no space left" in said
    assert "sparsity=0.9/version_4: test/acc 0.9000, 2.0 min" in said
    assert said[said.index("mine") :].count("test/acc") == 4
    assert (folder / "report.html").is_file()
    log = (folder / "sparsity=0.8/version_3.log").read_text().splitlines()
    assert log[:-1] == [
        f"--config={CONFIG}",
        "--trainer.callbacks.sparsity=0.8",
        "--seed_everything=3",
        "--data.init_args.seed=3",
        "--trainer.callbacks.seed=3",
    ]

    (tmp_path / "fit.py").write_text(FIT.replace("0.5", "0.95"))
    run_sweep(command)
    again = capsys.readouterr().out
    assert "sparsity=0.5/version_3: test/acc 0.5000" in again
    assert "sparsity=0.8/version_3: " not in again, "it was finished"
    assert again[again.index("mine") :].count("test/acc") == 6


@pytest.mark.usefixtures("fake_fit")
def test_a_changed_sweep_or_configuration_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    shutil.copy(CONFIG, config)
    command = [str(tmp_path / "mine.yaml"), "--folder", str(tmp_path / "runs"), "--processes", "1"]
    write(tmp_path, config={"value": str(config)}, **sparsities(0.8))
    run_sweep(command)
    config.write_text("# says the same\n" + config.read_text())
    write(tmp_path, config={"value": str(config)}, **sparsities(0.8, 0.9))
    capsys.readouterr()
    run_sweep(command)
    assert "sparsity=0.8/version_0: " not in capsys.readouterr().out, "it is finished, and the same run as before"
    write(tmp_path, config={"value": str(config)}, **sparsities(0.8, 0.9), **{"trainer.max_steps": {"value": 3}})
    with pytest.raises(ValueError, match=r"0\.8/version_0\.json' is of a run before .*\(--trainer.max_steps=3\)"):
        run_sweep(command)
    write(tmp_path, config={"value": str(config)}, **sparsities(0.8, 0.9))
    config.write_text(config.read_text().replace("0.05", "0.06"))
    with pytest.raises(ValueError, match=r"0\.8/version_0\.json' is of a run before .*\(the file of --config\)"):
        run_sweep(command)
    (tmp_path / "runs" / "sparsity=0.8" / "version_0.json").write_text("[")
    with pytest.raises(ValueError, match=r"0\.8/version_0\.json' cannot be read: delete"):
        run_sweep(command)
    config.unlink()
    with pytest.raises(FileNotFoundError, match=r"mine.yaml: parameters.config names '.*config.yaml', which is not"):
        run_sweep(command)


@pytest.mark.usefixtures("fake_fit")
@pytest.mark.parametrize(
    ("parameters", "more", "name"),
    [
        ({"trainer.logger": {"value": "true"}}, [], "trainer.logger"),
        ({"ckpt_path": {"value": "a.ckpt"}}, [], "ckpt_path"),
        ({"seed_everything": {"values": [1, 2]}}, ["--seeds", "0"], "seed_everything"),
    ],
)
def test_what_the_command_sets_itself_is_refused(
    parameters: dict[str, Any], more: list[str], name: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"mine.yaml: parameters.{name} is set by this command"):
        run_sweep([str(write(tmp_path, **parameters)), "--folder", str(tmp_path / "runs"), *more])


@pytest.mark.usefixtures("fake_fit")
def test_a_folder_that_another_sweep_works_in_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with (tmp_path / "runs" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match="another sweep, or a run it left, works in '.*runs'"):
            run_sweep([str(write(tmp_path, **sparsities(0.8))), "--folder", str(tmp_path / "runs")])


def test_an_interruption_ends_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(self: SweepRun, threads: int) -> subprocess.Popen[bytes]:
        if self.folder.name == "c":
            raise KeyboardInterrupt
        started.append(subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"]))
        return started[-1]

    monkeypatch.setattr(SweepRun, "start", start)
    runs = [SweepRun(tmp_path / name, 0, [f"--config={CONFIG}"]) for name in "abc"]
    with pytest.raises(KeyboardInterrupt):
        train(runs, 3, None)
    assert [process.poll() for process in started] == [-15, -15]


def checkpoint(part: Path, name: str, content: Any = None) -> Path:
    path = part / "checkpoints" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {}} if content is None else content, path)
    return path


def test_a_killed_run_goes_on_from_its_last_whole_checkpoint(tmp_path: Path) -> None:
    run = SweepRun(tmp_path / "a=1", 1, [f"--config={CONFIG}"])
    other = checkpoint(tmp_path / "a=1" / "version_10", "a.ckpt")

    def next_start() -> tuple[str, str | None]:
        logger, *more = run.go_on()
        place = json.loads(logger.partition("=")[2])["init_args"]
        assert (place["save_dir"], place["name"]) == (str(tmp_path), "a=1")
        return place["version"], more[0].removeprefix("--ckpt_path=") if more else None

    assert next_start() == ("version_1", None)
    first = tmp_path / "a=1" / "version_1"
    (first / "checkpoints").mkdir(parents=True)
    assert next_start() == ("version_1", None)
    assert not first.exists(), "it made no step: what it left is removed"
    whole = checkpoint(first, "epoch=0.ckpt")
    (first / "checkpoints" / "epoch=1.ckpt").write_bytes(whole.read_bytes()[:200])  # killed while it was written
    assert next_start() == ("version_1_part_2", str(whole))
    second = tmp_path / "a=1" / "version_1_part_2"
    second.mkdir()
    assert next_start() == ("version_1_part_2", str(whole)), "killed before its first checkpoint"
    newer = checkpoint(second, "epoch=2.ckpt")
    assert next_start() == ("version_1_part_3", str(newer))
    record = {"name": "a", "method": "RigL", "minutes": 1, "status": "finished", "first_step": 1, "steps": 2}
    (second / "run.json").write_text(json.dumps(record))
    assert next_start() == ("version_1_part_3", str(newer)), "it was killed while it was tested"
    assert newer.is_file()
    assert other.is_file()


def record(part: Path, **values: Any) -> None:
    part.mkdir(parents=True, exist_ok=True)
    every = {"name": "a", "method": "RigL", "minutes": 1, "status": "running", "first_step": 4, "steps": 4, **values}
    (part / "run.json").write_text(json.dumps(every))


def test_what_was_trained_is_never_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, folder = SweepRun(tmp_path / "a=1", 1, [f"--config={CONFIG}"]), tmp_path / "a=1"
    part = folder / "version_1"
    checkpoint(part, "last.ckpt", {"state_dict": {}, "own": Path("an object")})
    run.go_on()
    assert (folder / "aside_1_version_1/checkpoints/last.ckpt").is_file()
    said = capsys.readouterr().err
    assert "aside_1_version_1" in said
    assert "last.ckpt' cannot be read as a checkpoint: it is damaged, or holds objects other than tensors" in said
    assert said.count("\n") == 1
    part.mkdir()
    (part / "metrics.csv").write_text("step,train/loss\n1,0.5\n")  # killed before its first checkpoint
    run.go_on()
    assert (folder / "aside_2_version_1/metrics.csv").is_file()
    assert "it left no checkpoint" in capsys.readouterr().err
    record(part)  # killed after some steps, before the first line of its metrics was on the disk
    run.go_on()
    assert (folder / "aside_3_version_1/run.json").is_file()
    record(part, status="stopped", steps=5)
    (folder / "aside_2_version_1").rename(folder / "looked_at")
    run.go_on()
    assert json.loads((folder / "aside_3_version_1/run.json").read_text())["status"] == "running", "not written over"
    assert json.loads((folder / "aside_2_version_1/run.json").read_text())["status"] == "stopped"
    record(part, status="finished", minutes="a line that was damaged")
    run.go_on()
    assert (folder / "aside_4_version_1/run.json").is_file()
    checkpoint(part, "deeper/last.ckpt")
    run.go_on()
    assert (folder / "aside_5_version_1/checkpoints/deeper/last.ckpt").is_file()
    assert run.parts() == []


def test_what_made_no_step_goes(tmp_path: Path) -> None:
    run, part = SweepRun(tmp_path / "a=1", 1, [f"--config={CONFIG}"]), tmp_path / "a=1/version_1"
    for status in (None, "stopped", "finished"):  # failed before it trained, in its first batch, in a test made again
        part.mkdir(parents=True)
        for name in ("config.yaml", "hparams.yaml"):
            (part / name).write_text("{}")
        if status:
            record(part, status=status)
            (part / "metrics.csv").write_text("step,lr\n4,0.5\n")
        run.go_on()
        assert not list((tmp_path / "a=1").iterdir())


def test_a_part_is_never_written_over(tmp_path: Path) -> None:
    run, folder = SweepRun(tmp_path / "a=1", 1, [f"--config={CONFIG}"]), tmp_path / "a=1"
    checkpoint(folder / "version_1", "last.ckpt")
    last = checkpoint(folder / "version_1_part_3", "last.ckpt")  # someone has taken the second away
    (folder / "version_1_part_3_looked_at").mkdir()
    logger, resume, _ = run.go_on()
    assert json.loads(logger.partition("=")[2])["init_args"]["version"] == "version_1_part_4"
    assert resume == f"--ckpt_path={last}"


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # of Lightning, whenever a fit goes on elsewhere
def test_a_run_whose_test_failed_is_only_tested_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist = write_mnist(tmp_path / "mnist", train=64, test=16)
    data = [f"--data.init_args.root={mnist}", "--data.init_args.verify=false", "--data.init_args.batch_size=32"]
    short = ["--trainer.max_steps=2"]
    run = SweepRun(tmp_path / "a=1", 0, [f"--config={CONFIG}", *data, *short])

    def fail(*_: object, **__: object) -> None:
        raise OSError("the test images are not there")

    with monkeypatch.context() as patched:
        patched.setattr(cli.pl.Trainer, "test", fail)
        with pytest.raises(OSError, match="the test images"):
            cli.main(["fit", *run.arguments, *run.go_on()])
    first = run.result()
    assert (first.record["status"], first.record["steps"], first.scores) == ("finished", 2, {})

    def train(*_: object) -> None:
        raise AssertionError("it was trained already")

    monkeypatch.setattr(SparseClassifier, "training_step", train)
    assert cli.main(["fit", *run.arguments, *run.go_on()]).trainer.global_step == 2
    again = run.result()
    assert again.folder.name == "version_0_part_2"
    assert 0 <= again.record["scores"]["test/acc"] <= 1
    for key in ("steps", "minutes", "status", "method", "sparsity", "layers", "flops", "bytes"):
        assert again.record[key] == first.record[key], key
    [joined] = find_runs(tmp_path)
    curves = {key: curve.last for key, curve in joined.curves.items() if not key.startswith(("test/", "epoch"))}
    assert curves == {key: curve.last for key, curve in first.curves.items() if key != "epoch"}
    assert first.folder.is_dir()


def test_a_real_run_leaves_its_files_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist = write_mnist(tmp_path / "mnist", train=64, test=16)
    few = {"data.init_args.root": str(mnist), "data.init_args.verify": False, "trainer.max_steps": 2}
    parameters = {**{name: {"value": value} for name, value in few.items()}, **sparsities(0.9)}
    monkeypatch.chdir(tmp_path)
    report = run_sweep([str(write(tmp_path, **parameters)), "--folder", "runs", "--processes", "1"])
    assert report == Path("runs/report.html")
    [run] = find_runs(tmp_path / "runs")
    assert (run.name, run.record["status"], run.record["steps"]) == ("sparsity=0.9", "finished", 2)
    assert run.record["sparsity"] == pytest.approx(0.9, abs=1e-3)
    assert 0 <= run.scores["test/acc"] <= 1
    names = {path.name for path in (tmp_path / "runs" / "sparsity=0.9" / "version_0").iterdir()}
    assert {"metrics.csv", "run.json", "config.yaml", "checkpoints"} <= names
    assert "\r" not in (tmp_path / "runs/sparsity=0.9/version_0.log").read_text(), "no progress bar without terminal"


@pytest.fixture(scope="module")
def parse() -> Callable[[list[str]], Any]:
    """The parser of python -m experiments."""
    found: list[Any] = []

    class Parsing(cli.SparseCLI):
        def instantiate_classes(self) -> None:
            found.append(self.parser)
            raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "SparseCLI", Parsing)
        with pytest.raises(InterruptedError):
            cli.main(["fit", f"--config={CONFIG}"])
    parser = found[0]
    return lambda args: parser.parse_args(["fit", *args]).fit


def each_argument_with_each_configuration(of: Sweep) -> list[Combination]:
    """Few of the combinations; parsing one takes most of a second."""
    found: list[Combination] = []
    seen: set[tuple[str, ...]] = set()
    for all_new in (True, False):
        for combination in of.combinations():
            varied = [name for name in of.varied if name != "config"]
            pairs = {(str(combination["config"]), name, str(combination[name])) for name in varied}
            if pairs.isdisjoint(seen) if all_new else pairs - seen:
                found.append(combination)
                seen |= pairs
    return found


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_command_line_takes_every_argument_of_the_projects_sweeps(
    path: Path, parse: Callable[[list[str]], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for combination in each_argument_with_each_configuration(read_sweep(path)):
        parsed = parse(command_arguments(combination))
        method = parsed.trainer.callbacks[-1].init_args
        assert parsed.trainer.max_steps == parsed.model.init_args.scheduler.init_args.T_max
        assert method.sparsity == combination.get("trainer.callbacks.sparsity", 0.95)
        if "trainer.callbacks.initialization" in combination:
            assert method.initialization.class_path.endswith(f".{combination['trainer.callbacks.initialization']}")
        else:
            assert method.window.every == combination["trainer.callbacks.window.every"]
            share = combination["trainer.callbacks.drop_fraction.init_args.initial"]
            assert method.drop_fraction.init_args.initial == share
