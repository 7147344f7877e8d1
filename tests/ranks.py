"""Runs a program in processes that are forked from one that has imported Lightning: that takes seconds off each."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PATHS = os.pathsep.join(map(str, (TESTS.parent, TESTS)))
SECONDS = 240

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["callbacks", "datamodules", "lightning_modules", "fits", "methods", "pose_fits"])


@dataclass
class Done:
    """How a program ended.

    Attributes:
        returncode: the first exit status that is not 0, or 0.
        stderr: what its processes wrote there, one after the other.
    """

    returncode: int
    stderr: str


def launch(script: Path, arguments: Sequence[object], ranks: int = 1) -> Done:
    """Run ``script`` on so many ranks; when one fails, the others are ended, as torchrun does."""
    if ranks == 1:
        return launch_in(script, arguments, [{}])
    world = {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    world |= {"MASTER_PORT": str(free_port()), "TORCHELASTIC_RUN_ID": "tests"}
    places = [{"RANK": str(rank), "LOCAL_RANK": str(rank), **world} for rank in range(ranks)]
    return launch_in(script, arguments, places)


def launch_in(script: Path, arguments: Sequence[object], places: Sequence[Mapping[str, str]]) -> Done:
    """Run ``script`` in one process for each of the ``places``, which are environment variables."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PATHS)  # for the process that forks, which the first start begins
        logs = [Path(folder) / f"rank-{rank}" for rank in range(len(places))]
        processes = []
        for place, log in zip(places, logs, strict=True):
            processes.append(_server.Process(target=run, args=(script, list(map(str, arguments)), place, log)))
            processes[-1].start()
        failed = _wait(processes)
        return Done(failed, "".join(log.read_text() for log in logs if log.exists()))


def _wait(processes: Sequence[BaseProcess]) -> int:
    """Return the first exit status that is not 0, or 0, when all have ended."""
    status, end = 0, time.monotonic() + SECONDS
    while any(process.is_alive() for process in processes):
        time.sleep(0.02)
        late = time.monotonic() > end
        if failed := [process.exitcode for process in processes if process.exitcode]:
            status, end = status or failed[0], min(end, time.monotonic() + 5)  # others may have something to say
        if late:
            status = status or -signal.SIGKILL
            for process in processes:
                process.kill()
    return status or next((process.exitcode for process in processes if process.exitcode), 0)


def run(script: Path, arguments: Sequence[str], place: Mapping[str, str], log: Path) -> None:
    """Run a script as the main program of this process."""
    os.environ.pop("RANK", None)
    os.environ.update(place, OMP_NUM_THREADS="1", PYTHONPATH=PATHS)
    with log.open("w") as stream:
        os.dup2(stream.fileno(), 2)
    os.chdir(TESTS.parent)
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
