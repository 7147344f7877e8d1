"""Runs as they lie on disk: a folder each, with metrics.csv, run.json and config.yaml, or some of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from ..run_record import NAME, read_record
from .metrics_file import Curve, read_metrics

# what may differ between runs that are one experiment
LEFT_OUT = ("seed", "seed_everything", "root", "folder", "save_dir", "dirpath", "ckpt_path", "num_workers", "version")


@dataclass(frozen=True)
class Run:
    """One fit, from its first step to its last, whatever number of times it was interrupted.

    Args:
        folder: where its files are.
        name: of its logger.
        study: data and network, if known.
        method: class that holds its masks; ``dense`` without, empty if unknown.
        seed: None if unknown.
        config: settings by dotted name, but for seeds, paths and loggers.
        record: the rest of run.json.
        curves: by logged key.
        notes: what is wrong with its files, a sentence each.
    """

    folder: Path
    name: str
    study: str = ""
    method: str = ""
    seed: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def scores(self) -> dict[str, float]:
        """What was measured on the test data."""
        logged = {key: curve.last for key, curve in self.curves.items() if key.startswith("test/")}
        return {**logged, **self.record.get("scores", {})}

    @property
    def sparsity(self) -> float | None:
        """Fraction of zeros at the end, over the weights that a method holds."""
        if "sparsity/actual" in self.curves:
            return self.curves["sparsity/actual"].last
        found = self.record.get("sparsity")
        return None if found is None else float(found)


def find_runs(folder: Path) -> list[Run]:
    """All runs at or below a folder, those that continue others joined to them, in the order of their paths."""
    files = {*folder.rglob("metrics.csv"), *folder.rglob(NAME)}
    runs = {run_folder: read_run(run_folder) for run_folder in sorted({file.parent for file in files})}
    known = {run_folder.resolve(): run for run_folder, run in runs.items()}
    continued = {_continued(run) for run in known.values()}
    return [_joined(run, known, seen={place}) for place, run in known.items() if place not in continued]


def read_run(folder: Path) -> Run:
    """What the files in a folder say of one run."""
    curves: dict[str, Curve] = {}
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
    config, wrong = _config(folder / "config.yaml")
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


def _config(path: Path) -> tuple[dict[str, str], list[str]]:
    if not path.is_file():
        return {}, []
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}, [f"{path}: not readable as YAML, so its settings are not shown"]
    return {key: value for key, value in _flat(content) if key.rpartition(".")[2] not in LEFT_OUT}, []


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """Dotted names of settings; callbacks are named by their class, what they are given directly below that."""
    if isinstance(value, dict) and "class_path" in value:
        short = str(value["class_path"]).rpartition(".")[2]
        yield name, short
        yield from _flat(value.get("init_args") or {}, name)
    elif isinstance(value, dict):
        for key, item in value.items():
            if f"{name}.{key}" != "trainer.logger":
                yield from _flat(item, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _flat(item, f"{name}.{index}")
    else:
        yield name, str(value)


def _continued(run: Run) -> Path | None:
    """The folder of the run that this one goes on from, if it says one that is there."""
    other = run.record.get("continues")
    folder = (run.folder / str(other)).parent.resolve() if other else None
    return folder if folder and folder.is_dir() and folder != run.folder.resolve() else None


def _joined(run: Run, known: Mapping[Path, Run], seen: set[Path]) -> Run:
    """With the curves of the runs before it, up to where it began; those not ``known`` are read."""
    folder = _continued(run)
    if folder is None or folder in seen:
        return run
    before = known[folder] if folder in known else read_run(Path(os.path.relpath(folder)))
    before = _joined(before, known, seen | {folder})
    begun = int(run.record.get("first_step", 0))
    curves = {key: curve.before(begun) for key, curve in before.curves.items()}
    curves = {key: curve for key, curve in curves.items() if len(curve.steps)}
    for key, curve in run.curves.items():
        curves[key] = curves[key].then(curve) if key in curves else curve
    return replace(run, curves=curves, notes=[*before.notes, *run.notes])
