"""A bench of reports: how long one of many runs takes to build, and how large it is."""

from __future__ import annotations

import csv
import json
import math
import random
import tempfile
import time
from pathlib import Path

from rich.console import Console

from ..report.write import write_report

METHODS = ("SparseTraining", "SET", "RigL", "SRigL")
LAYERS = {f"network.layer{i}.weight": (64, 64, 3, 3) for i in range(20)}


def write_runs(folder: Path, runs: int, steps: int) -> None:
    """Write made-up runs as fits leave them: several methods and sparsities, with some seeds each."""
    for index in range(runs):
        method, sparsity, seed = METHODS[index % 4], (0.8, 0.9)[index // 4 % 2], index // 8
        name = f"made_up_{method.lower()}_{100 * sparsity:.0f}"
        run = folder / name / f"version_{seed}"
        run.mkdir(parents=True)
        _write_metrics(run / "metrics.csv", random.Random(index), sparsity, steps)
        record = {
            "name": name,
            "study": "made up",
            "method": method,
            "seed": seed,
            "status": "finished",
            "steps": steps,
            "minutes": 10.0,
            "sparsity": sparsity,
            "layers": {layer: {"shape": shape, "active": 3686} for layer, shape in LAYERS.items()},
            "flops": {"training": 1e15 * (1 + index % 4), "forward": 1e9},
            "scores": {"test/acc": 0.9 + index / 1000},
        }
        (run / "run.json").write_text(json.dumps(record), encoding="utf-8")


def _write_metrics(path: Path, chance: random.Random, sparsity: float, steps: int) -> None:
    """Write a loss at every step, gradient flow by layer at every 50th, and an update at every 100th."""
    layers = [f"grad_flow/active/{layer}" for layer in LAYERS]
    rare = ["grad_flow/active", "grad_flow/inactive", "grad_flow/total", *layers]
    updates = ["sparsity/churn", "sparsity/explored", "sparsity/actual", "grad_flow/delta", "val/acc"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["epoch", "step", "train/loss", *rare, *updates])
        writer.writeheader()
        for step in range(steps):
            progress = step / steps
            row = {
                "step": step,
                "epoch": step // 400,
                "train/loss": 2.3 * math.exp(-3 * progress) + chance.random() / 10,
            }
            if step % 50 == 0:
                row |= {key: (0.1 + progress) * math.exp(chance.gauss(0, 0.3)) for key in rare}
            if step % 100 == 0:
                values = (0.3 * (1 - progress), 0.2 + progress / 3, sparsity, chance.gauss(0, 0.1), progress)
                row |= dict(zip(updates, values, strict=True))
            writer.writerow(row)


def main(runs: int = 40, steps: int = 12_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_runs(Path(folder), runs, steps)
        begun = time.perf_counter()
        path = write_report([Path(folder)], Path(folder) / "report.html", "made up")
        seconds, size = time.perf_counter() - begun, path.stat().st_size
    Console().print(f"report of {runs} runs of {steps:,} steps: {seconds:.1f} s, {size / 1e6:.2f} MB")
