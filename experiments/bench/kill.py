"""A check that fits which are killed again and again and go on end bit for bit as fits that are left alone."""

from __future__ import annotations

import logging
import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from callbacks.checkpoint import STATE_KEY
from callbacks.files.safe_files import read_checkpoint

from .mortal_fit import NAMES, PLACES, STEPS, CurveLogger, run

DEATHS = ("at any moment", "SIGTERM at any moment", *PLACES)


@dataclass
class Killed:
    """A run that was killed: in which ways, and what differs from a run that was not."""

    method: str
    deaths: list[str]
    differing: list[str]


def run_with_kills(folder: Path, method: str, kills: int, draw: random.Random, seconds: float) -> list[str]:
    """Start processes until one comes to the end; the first ``kills`` are killed, from outside or by themselves."""
    deaths: list[str] = []
    while not (folder / "done").is_file():
        death = draw.choice(DEATHS) if len(deaths) < kills else ""
        inside = (death, draw.randint(1, 8)) if death in PLACES else None
        life = multiprocessing.get_context("fork").Process(target=run, args=(folder, method, inside))
        life.start()
        if death and not inside:
            life.join(draw.uniform(0.1, 1.0) * seconds)
            # Neither does anything to a process that is over.
            (life.terminate if death.startswith("SIGTERM") else life.kill)()
        life.join()
        if life.exitcode:
            if not death:
                raise RuntimeError(f"a life of {method} in {folder} that was not killed ended with {life.exitcode}")
            deaths.append(death)
    return deaths


def differences(folder: Path, other: Path) -> Iterator[str]:
    """Yield what differs in the last checkpoints and curves of two runs, for each of their fits."""
    for end in sorted(other.rglob("end.ckpt")):
        where = end.relative_to(other).parent
        ours, theirs = read_checkpoint(folder / where / end.name), read_checkpoint(end)
        for key in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "global_step"):
            if not equal(ours.get(key), theirs.get(key)):
                yield f"{where / key}"
        if not equal(*(checkpoint["callbacks"][STATE_KEY] for checkpoint in (ours, theirs))):
            yield f"{where / 'masks'}"
        if CurveLogger(folder / where / "curve.jsonl").read() != CurveLogger(other / where / "curve.jsonl").read():
            yield f"{where / 'curve'}"


def equal(one: Any, other: Any) -> bool:
    """Return whether two values of a checkpoint are equal, bit for bit."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def kill(kills: int, folder: Path, *, seed: int = 0) -> Iterator[Killed]:
    """Kill fits in runs of each method in turn, until ``kills`` are reached.

    Args:
        kills: the least number of kills.
        folder: keeps the runs.
        seed: the seed of when and how processes are killed.
    """
    draw, done, number = random.Random(seed), 0, 0
    whole: dict[str, float] = {}
    while done < kills:
        method = NAMES[number % len(NAMES)]
        if method not in whole:
            begun = time.perf_counter()
            run_with_kills(folder / method, method, 0, draw, 0.0)
            whole[method] = time.perf_counter() - begun
        again = folder / f"{method}-{number}"
        deaths = run_with_kills(again, method, min(5, kills - done), draw, whole[method])
        done, number = done + len(deaths), number + 1
        yield Killed(method, deaths, list(differences(again, folder / method)))


def main(kills: int = 30) -> None:
    """Print a line for each run, and after how many kills it ended as an undisturbed one."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    table = Table(title=f"Fits of {STEPS} steps, killed and gone on")
    for column in ("method", "killed", "equal to the undisturbed fit"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as folder:
        runs = list(kill(kills, Path(folder)))
    for killed in runs:
        verdict = f"not: {', '.join(killed.differing)}" if killed.differing else "yes"
        table.add_row(killed.method, ", ".join(killed.deaths), verdict)
    Console().print(table)
    every, good = (sum(len(run.deaths) for run in chosen) for chosen in (runs, [r for r in runs if not r.differing]))
    print(f"{good} of {every} kills: weights, averages, masks, optimizer and curve equal, bit for bit")
    if good < every:
        raise SystemExit(1)
