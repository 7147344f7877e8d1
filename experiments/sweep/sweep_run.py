"""One run of a sweep: its files, and a process that trains it, from its last checkpoint if it was killed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callbacks.files.safe_files import read_checkpoint, write_whole_text

from ..report.runs import Run, read_run
from ..run.run_record import NAME, read_record
from ..run.set_aside import set_aside
from ..run.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
BEFORE = {"config.yaml", "hparams.yaml"}  # the files that are there before a fit begins


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    It keeps in ``folder``::

        version_<seed>/               metrics.csv, run.json, config.yaml, checkpoints
        version_<seed>_part_2/        the same of what followed after a kill or a failed test
        aside_1_version_<seed>/       the same of what could not be gone on from
        version_<seed>.log            all that the last process printed
        version_<seed>.json           its arguments, and whether it is finished

    Args:
        folder: named after what is varied; runs with other seeds share it.
        version: number of ``version_<seed>``.
        arguments: the arguments of ``python -m experiments fit``, without logger and checkpoint.
    """

    folder: Path
    version: int
    arguments: Sequence[str]

    @property
    def name(self) -> str:
        return f"{self.folder.name}/version_{self.version}"

    @property
    def log(self) -> Path:
        return self.folder / f"version_{self.version}.log"

    @property
    def finished(self) -> bool:
        """Return whether a process that trained the run ended well.

        Raises:
            ValueError: its files are of a run with other arguments, or another configuration.
        """
        if not self._marker.is_file():
            return False
        try:
            marked = json.loads(self._marker.read_text(encoding="utf-8"))
            finished = bool(marked.pop("finished"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{str(self._marker)!r} cannot be read: delete this file, and the run goes on") from error
        if marked != (wanted := self._identity()):
            changed = sorted({*marked.get("arguments", [])} ^ {*wanted["arguments"]}) or ["the file of --config"]
            raise ValueError(
                f"{str(self._marker)!r} is of a run before the sweep was changed ({', '.join(changed)}): give --folder "
                f"another folder, or delete {str(self.folder)!r}"
            )
        return finished

    def start(self, threads: int) -> subprocess.Popen[bytes]:
        """Begin, or go on from the last checkpoint, in a process of its own that prints to the log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = [*self.arguments, *self.go_on()]
        self._mark(finished=False)
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "experiments", "fit", *arguments]
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                close_fds=False,  # the run shares the lock of its sweep
            )

    def end(self) -> None:
        """Note that the process has ended well, so that the run is not started again."""
        self._mark(finished=True)

    def result(self) -> Run:
        """Read what the run has left so far."""
        return read_run(self.parts()[-1])

    def go_on(self) -> list[str]:
        """Return where to log, and the checkpoint to go on from; parts after it are set aside.

        From the last checkpoint of a fit that was over nothing is trained: the fit is only tested.
        """
        parts, checkpoint = self.parts(), None
        while parts and checkpoint is None:
            checkpoint, why = _last_checkpoint(parts[-1])
            if checkpoint is None:
                _clear(parts.pop(), why)
        version = f"version_{self.version}" + (f"_part_{_number(parts[-1]) + 1}" if parts else "")
        folder = {"save_dir": str(self.folder.parent), "name": self.folder.name, "version": version}
        logger = {"class_path": "pytorch_lightning.loggers.CSVLogger", "init_args": folder}
        more = [] if checkpoint is None else [f"--ckpt_path={checkpoint}", "--weights_only=true"]
        return [f"--trainer.logger={json.dumps(logger)}", *more]

    def parts(self) -> list[Path]:
        """Return the folders of what was trained, in their order."""
        first = self.folder / f"version_{self.version}"
        later = [part for part in self.folder.glob(f"{first.name}_part_*") if part.name.rpartition("_")[2].isdecimal()]
        return [part for part in (first, *sorted(later, key=_number)) if part.is_dir()]

    @property
    def _marker(self) -> Path:
        return self.folder / f"version_{self.version}.json"

    def _identity(self) -> dict[str, Any]:
        """Return what must not change between two processes of one run: its arguments, and what its YAML says."""
        config = next(a.partition("=")[2] for a in self.arguments if a.startswith("--config="))
        content = json.dumps(read_yaml(Path(config)), sort_keys=True, default=str)
        return {
            "arguments": list(self.arguments),
            "config": hashlib.blake2b(content.encode(), digest_size=16).hexdigest(),
        }

    def _mark(self, *, finished: bool) -> None:
        write_whole_text(json.dumps({**self._identity(), "finished": finished}, indent=1) + "\n", self._marker)


def _number(part: Path) -> int:
    """Return 1 for ``version_<seed>``, and k for ``version_<seed>_part_<k>``."""
    return int(part.name.partition("_part_")[2] or 1)


def _clear(part: Path, why: str) -> None:
    """Take away a folder from which no run can go on; only one in which no step was made is removed."""
    if _made_no_step(part):
        shutil.rmtree(part)
    else:
        set_aside(part, why)


def _made_no_step(part: Path) -> bool:
    """Return whether it is certain that no step was made: a fit that began leaves its record or other files."""
    files = {path.relative_to(part).as_posix() for path in part.rglob("*") if not path.is_dir()}
    if files <= BEFORE:
        return True
    if NAME not in files or not files <= {*BEFORE, NAME, "metrics.csv"}:
        return False
    try:
        record = read_record(part / NAME)
    except ValueError:
        return False
    return record.get("status") != "running" and record.get("steps", 0) == record.get("first_step")


def _last_checkpoint(part: Path) -> tuple[Path | None, str]:
    """Return the newest checkpoint that is whole; else None, and what is wrong with the newest."""
    wrong = []
    for path in sorted(part.glob("checkpoints/*.ckpt"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            read_checkpoint(path)
        except ValueError as error:  # the run was killed while writing it, or it holds objects
            wrong.append(str(error))
            continue
        return path, ""
    return None, next(iter(wrong), "it left no checkpoint")
