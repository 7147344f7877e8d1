"""Runs as they lie on disk, a folder each, with metrics.csv, run.json and config.yaml, or some of these files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..run.run_record import NAME, read_record
from ..run.set_aside import PREFIX
from ..run.yaml_files import read_yaml
from .metrics_file import MetricCurve, read_metrics

# Settings that may differ between runs of one experiment.
LEFT_OUT = ("seed", "seed_everything", "root", "folder", "save_dir", "dirpath", "ckpt_path", "num_workers", "version")


@dataclass(frozen=True)
class Run:
    """A fit from its first step to its last, however often it was interrupted.

    Args:
        folder: the folder of its files.
        name: the name that its logger gave it.
        study: data and network, if known.
        method: the class that holds its masks; ``dense`` without masks, empty if unknown.
        seed: None if unknown.
        config: settings by dotted name, without seeds, paths and loggers.
        record: the content of run.json.
        curves: what was logged, by key.
        notes: what is wrong with its files, a sentence each.
    """

    folder: Path
    name: str
    study: str = ""
    method: str = ""
    seed: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, MetricCurve] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def scores(self) -> dict[str, float]:
        """Return what was measured on the test data."""
        logged = {key: curve.last for key, curve in self.curves.items() if key.startswith("test/")}
        return {**logged, **self.record.get("scores", {})}

    @property
    def sparsity(self) -> float | None:
        """Return the fraction of zeros at the end, over the weights that a method holds; None if it is unknown."""
        if "sparsity/actual" in self.curves:
            return self.curves["sparsity/actual"].last
        recorded = self.record.get("sparsity")
        return None if recorded is None else float(recorded)


def find_runs(folder: Path) -> list[Run]:
    """Return all runs at or below a folder in the order of their paths, each joined to the runs that it continues.

    What was set aside is left out: it was trained again.
    """
    files = {*folder.rglob("metrics.csv"), *folder.rglob(NAME)}
    folders = sorted({file.parent for file in files if not file.parent.name.startswith(PREFIX)})
    runs = {run_folder: read_run(run_folder) for run_folder in folders}
    known = {run_folder.resolve(): run for run_folder, run in runs.items()}
    continued = {_continued_folder(run) for run in known.values()}
    return [_join(run, known, seen={path}) for path, run in known.items() if path not in continued]


def read_run(folder: Path) -> Run:
    """Read what the files in a folder say of one run."""
    curves: dict[str, MetricCurve] = {}
    notes: list[str] = []
    record: dict[str, Any] = {}
    if (folder / "metrics.csv").is_file():
        curves, notes = read_metrics(folder / "metrics.csv")
    else:
        notes.append(f"{folder}: no metrics.csv yet")
    if (folder / NAME).is_file():
        try:
            record = read_record(folder / NAME)
        except ValueError as error:
            notes.append(str(error))
    version = folder.name.startswith("version_") and folder.parent.name
    config, wrong = _read_config(folder / "config.yaml")
    return Run(
        folder,
        name=record.get("name") or version or folder.resolve().name,
        study=str(record.get("study", "")),
        method=record.get("method", ""),
        seed=record.get("seed"),
        config=config,
        record=record,
        curves=curves,
        notes=[*notes, *wrong],
    )


def _read_config(path: Path) -> tuple[dict[str, str], list[str]]:
    if not path.is_file():
        return {}, []
    try:
        content = read_yaml(path)
    except ValueError:
        return {}, [f"{path}: not readable as YAML, so its settings are not shown"]
    return {key: value for key, value in _flatten(content) if key.rpartition(".")[2] not in LEFT_OUT}, []


def _flatten(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """Yield settings by dotted names; those of a class stand directly below the name under which its name stands."""
    if isinstance(value, dict) and "class_path" in value:
        short = str(value["class_path"]).rpartition(".")[2]
        yield name, short
        yield from _flatten(value.get("init_args") or {}, name)
    elif isinstance(value, dict):
        for key, item in value.items():
            if f"{name}.{key}" != "trainer.logger":
                yield from _flatten(item, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _flatten(item, f"{name}.{index}")
    else:
        yield name, str(value)


def _continued_folder(run: Run) -> Path | None:
    """Return the folder of the run that this one continues; None if it names no folder that exists."""
    other = run.record.get("continues")
    folder = (run.folder / str(other)).parent.resolve() if other else None
    return folder if folder and folder.is_dir() and folder != run.folder.resolve() else None


def _join(run: Run, known: Mapping[Path, Run], seen: set[Path]) -> Run:
    """Return the run with the curves of the runs before it, up to its first step; runs not ``known`` are read."""
    folder = _continued_folder(run)
    if folder is None or folder in seen:
        return run
    before = known[folder] if folder in known else read_run(Path(os.path.relpath(folder)))
    before = _join(before, known, seen | {folder})
    first_step = int(run.record.get("first_step", 0))
    if run.record.get("steps") == first_step:  # nothing was trained: what was logged after the last step stays
        first_step += 1
    curves = {key: curve.before(first_step) for key, curve in before.curves.items()}
    curves = {key: curve for key, curve in curves.items() if len(curve.steps)}
    for key, curve in run.curves.items():
        curves[key] = curves[key].followed_by(curve) if key in curves else curve
    return replace(run, curves=curves, notes=[*before.notes, *run.notes])
