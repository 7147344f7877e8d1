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

import yaml  # type: ignore[import-untyped]

from callbacks.files.safe_files import read_checkpoint

from .report.runs import Run, read_run
from .run_record import NAME, read_record
from .whole_text import write_whole_text

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    It keeps in ``folder``::

        version_<seed>/               metrics.csv, run.json, config.yaml, checkpoints
        version_<seed>_part_2/        the same of what followed after a kill
        version_<seed>.log            all that the last process printed
        version_<seed>.json           its arguments, and whether it is finished

    Args:
        folder: named after what is varied; runs with other seeds share it.
        version: number of ``version_<seed>``.
        arguments: of ``python -m experiments fit``, without logger and checkpoint.
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
        """Whether a process that trained it ended well.

        Raises:
            ValueError: its files are of a run with other arguments, or another configuration.
        """
        if not self._marker.is_file():
            return False
        try:
            found = json.loads(self._marker.read_text())
            finished = bool(found.pop("finished"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{str(self._marker)!r} cannot be read: delete the folder {str(self.folder)!r}") from error
        if found != (wanted := self._identity()):
            changed = sorted({*found.get("arguments", [])} ^ {*wanted["arguments"]}) or ["the file of --config"]
            raise ValueError(
                f"{str(self._marker)!r} is of a run before the sweep was changed ({', '.join(changed)}): give --folder "
                f"another folder, or delete {str(self.folder)!r}"
            )
        return finished

    def start(self, threads: int) -> subprocess.Popen[bytes]:
        """Begin, or go on from the last checkpoint, in a process of its own that prints to the log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = [*self.arguments, *self._go_on()]
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
                close_fds=False,  # it shares the lock of its sweep
            )

    def end(self) -> None:
        """Its process has ended well: it is not run again."""
        self._mark(finished=True)

    def result(self) -> Run:
        """What it has left so far."""
        return read_run(self._parts()[-1])

    def _go_on(self) -> list[str]:
        """Return where to log, and the checkpoint to go on from; what came after that checkpoint is set aside."""
        parts = self._parts()
        checkpoint = None
        while parts and (checkpoint := _last_checkpoint(parts[-1])) is None:
            _set_aside(parts.pop())
        version = f"version_{self.version}" + (f"_part_{len(parts) + 1}" if parts else "")
        place = {"save_dir": str(self.folder.parent), "name": self.folder.name, "version": version}
        logger = {"class_path": "pytorch_lightning.loggers.CSVLogger", "init_args": place}
        more = [] if checkpoint is None else [f"--ckpt_path={checkpoint}", "--weights_only=true"]
        return [f"--trainer.logger={json.dumps(logger)}", *more]

    def _parts(self) -> list[Path]:
        """Folders of what was trained, in their order."""
        first = self.folder / f"version_{self.version}"
        later = sorted(self.folder.glob(f"{first.name}_part_*"), key=lambda part: (len(part.name), part.name))
        return [part for part in (first, *later) if part.is_dir()]

    @property
    def _marker(self) -> Path:
        return self.folder / f"version_{self.version}.json"

    def _identity(self) -> dict[str, Any]:
        """What must not change between two processes of one run: its arguments, and what its YAML says."""
        config = next(a.partition("=")[2] for a in self.arguments if a.startswith("--config="))
        content = json.dumps(yaml.safe_load(Path(config).read_text()), sort_keys=True, default=str)
        return {
            "arguments": list(self.arguments),
            "config": hashlib.blake2b(content.encode(), digest_size=16).hexdigest(),
        }

    def _mark(self, *, finished: bool) -> None:
        write_whole_text(json.dumps({**self._identity(), "finished": finished}, indent=1) + "\n", self._marker)


def _set_aside(part: Path) -> None:
    """Take a folder that cannot be gone on from out of the way; only one in which no step was made is removed."""
    if not (part / "metrics.csv").is_file() and not any(part.glob("checkpoints/*.ckpt")):
        shutil.rmtree(part)
        return
    number = 1 + len(list(part.parent.glob(f"aside_*_{part.name}")))
    kept = part.rename(part.with_name(f"aside_{number}_{part.name}"))
    print(
        f"{str(part)!r} was trained, but no test followed, and no checkpoint in it can be gone on from; it "
        f"is kept as {str(kept)!r}, and training begins anew or from an earlier part",
        file=sys.stderr,
    )


def _last_checkpoint(part: Path) -> Path | None:
    """The newest one that is whole, of a fit that was not over."""
    record = part / NAME
    if record.is_file() and read_record(record).get("status") == "finished":
        return None  # it was killed while it was tested, and Lightning would not train the last step again
    for path in sorted(part.glob("checkpoints/*.ckpt"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            read_checkpoint(path)
        except ValueError:  # killed while it was written
            continue
        return path
    return None
