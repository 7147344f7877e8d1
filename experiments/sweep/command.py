"""Run a W&B sweep without W&B, on several processes: python -m experiments sweep FILE. Killed, it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from callbacks.files.folder_lock import check_locks

from ..report.command import main as report
from ..run.command import command_parser
from ..run.configuration import seed_arguments
from ..run.progress import progress
from .sweep_file import Sweep, command_arguments, read_sweep
from .sweep_run import SweepRun

SET_HERE = ("trainer.logger", "ckpt_path", "weights_only")  # arguments of the runs that this command gives
TAIL = 15  # lines that are printed of a failed run's log


def plan(sweep: Sweep, folder: Path, seeds: Sequence[int] | None, runs: int | None, seed: int) -> list[SweepRun]:
    """Return all runs of a sweep: every combination with every seed.

    Args:
        sweep: the content of the sweep's file.
        folder: the folder in which every run gets a folder.
        seeds: the seeds of network, data order and masks; None for one run, with those of the file.
        runs: the greatest number of combinations; None for the file's.
        seed: the seed of random combinations.

    Raises:
        ValueError: the sweep sets what is set here.
        FileNotFoundError: a configuration is not there.
    """
    planned = []
    for combination in sweep.combinations(runs, seed):
        config = Path(str(combination["config"]))
        if not config.is_file():
            raise FileNotFoundError(f"{sweep.path}: parameters.config names {str(config)!r}, which is not there")
        for version in [0] if seeds is None else seeds:
            more = [] if seeds is None else seed_arguments(config, version)
            for name in sweep.parameters:
                if name.startswith(SET_HERE) or any(argument.startswith(f"--{name}=") for argument in more):
                    raise ValueError(f"{sweep.path}: parameters.{name} is set by this command: leave it out of one")
            arguments = (*command_arguments(combination), *more)
            planned.append(SweepRun(folder / sweep.name(combination), version, arguments))
    return planned


def train(runs: Sequence[SweepRun], processes: int, metric: str | None) -> list[SweepRun]:
    """Train all runs that are not finished, and return those that failed.

    Args:
        runs: all runs of a sweep.
        processes: how many runs train at a time; each gets its share of the cores.
        metric: the metric to print of a run that is done; None for the first test score.
    """
    waiting = deque(run for run in runs if not run.finished)
    running: dict[subprocess.Popen[bytes], SweepRun] = {}
    failed = []
    threads = max(1, (os.cpu_count() or 1) // processes)
    before = len(runs) - len(waiting)
    try:
        with progress() as bars:
            task = bars.add_task("runs", total=len(runs), completed=before, before=before)
            while waiting or running:
                while waiting and len(running) < processes:
                    run = waiting.popleft()
                    running[run.start(threads)] = run
                time.sleep(0.1)
                for process in [process for process in running if process.poll() is not None]:
                    run = running.pop(process)
                    bars.advance(task)
                    if process.returncode:
                        failed.append(run)
                        said = _failure(run, process.returncode)
                    else:
                        run.end()
                        said = f"{run.name}: {', '.join(_result(run, metric))}"
                    bars.console.print(said, markup=False, highlight=False, soft_wrap=True)
    finally:
        _end(running.keys())
    return failed


def _failure(run: SweepRun, code: int) -> str:
    lines = run.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
    return "\n".join([f"{run.name} failed with exit code {code}; the end of {run.log}:", *(f"  {x}" for x in lines)])


def _end(processes: Collection[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _result(run: SweepRun, metric: str | None) -> list[str]:
    """Return score and minutes of a run, as far as they are known."""
    result = run.result()
    last = {name: curve.last for name, curve in result.curves.items()} | result.scores
    name = metric or next((key for key in last if key.startswith("test/")), None)
    score = f"{name} {last[name]:.4f}" if name in last else f"no {metric or 'test score'}"
    return [score, f"{result.record['minutes']:.1f} min" if "minutes" in result.record else "unknown time"]


def table(sweep: Sweep, runs: Sequence[SweepRun], failed: Sequence[SweepRun]) -> Table:
    """Draw a row for each run: what was varied, its score, its minutes."""
    drawn = Table(title=sweep.path.stem)
    for column in ("run", "score", "time"):
        drawn.add_column(column, justify="left" if column == "run" else "right", overflow="fold")
    for run in runs:
        drawn.add_row(run.name.replace(",", ", "), *(["failed", ""] if run in failed else _result(run, sweep.metric)))
    return drawn


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, so that no other sweep runs there; processes that a killed sweep left hold it, too.

    Raises:
        RuntimeError: there is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    check_locks()
    import fcntl

    with (folder / "lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RuntimeError(f"another sweep, or a run it left, works in {str(folder)!r}: end it first") from None
        os.set_inheritable(lock.fileno(), True)  # every process that has the file open holds the lock
        yield


@contextmanager
def _end_on_sigterm() -> Iterator[None]:
    """Let a SIGTERM end this process as an error does, so that its runs are ended, too."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(args: Sequence[str] | None = None) -> Path:
    """Run or finish a sweep, print its table, and return the path of its report.

    Raises:
        RuntimeError: runs failed; all others are done, and in the report.

    Example:
        >>> main(["experiments/sweeps/lenet5_sparsity_method_init.yaml"])  # doctest: +SKIP
    """
    parser = command_parser("sweep", __doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="sweep of W&B, such as those of experiments/sweeps")
    at_a_time = 1 if torch.cuda.is_available() else os.cpu_count() or 1
    parser.add_argument("--processes", type=int, default=at_a_time, help=f"runs at a time, default {at_a_time}")
    parser.add_argument("--folder", type=Path, help="where the runs go, default runs/sweeps/ and the file's name")
    parser.add_argument("--seeds", type=int, nargs="+", help="a run of each combination with each; default: the file's")
    parser.add_argument("--runs", type=int, help="at most so many combinations, instead of the file's run_cap")
    parser.add_argument("--seed", type=int, default=0, help="of the combinations of method: random")
    chosen = parser.parse_args(args)
    for name in ("processes", "runs"):
        if (value := getattr(chosen, name)) is not None and value < 1:
            parser.error(f"--{name} is {value}; it is 1 or more")
    sweep = read_sweep(chosen.file)
    folder = chosen.folder or Path("runs/sweeps") / chosen.file.stem
    runs = plan(sweep, folder, chosen.seeds, chosen.runs, chosen.seed)
    with locked(folder), _end_on_sigterm():
        failed = train(runs, chosen.processes, sweep.metric)
    Console().print(table(sweep, runs, failed))
    if len(failed) == len(runs):
        raise RuntimeError(f"all {len(runs)} runs failed; see the logs in {str(folder)!r}")
    path = report([str(folder)])
    if failed:
        names = ", ".join(run.name for run in runs if run in failed)
        raise RuntimeError(f"{len(failed)} of {len(runs)} runs failed: {names}; the same command tries them again")
    return path
