"""Every method with every processes, precision, accumulation, compilation, clipping and optimizer: make conformance.

A covering set: every two values of two settings meet in some cell, every method meets every value. A cell is a short
fit that a Witness watches; with two processes, masks and weights are compared too.

python tests/conformance.py --results FILE [--alone]
torchrun --nproc_per_node 2 tests/conformance.py --rows FILE, for the cells of two processes
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from fits import TinyModule, data, trainer
from methods import METHODS
from pytorch_lightning.plugins import MixedPrecision
from pytorch_lightning.strategies import DDPStrategy
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.utils.data import DataLoader
from witness import Witness

from experiments.run.provenance import provenance
from experiments.run.rows import append_row

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "SGD Nesterov": lambda p: SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2, foreach=False),
    "SGD foreach": lambda p: SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2, foreach=True),
    "SGD fused": lambda p: SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2, fused=True),
    "Adam foreach": lambda p: Adam(p, lr=1e-2, weight_decay=1e-2, foreach=True),
    "AdamW": lambda p: AdamW(p, lr=1e-2, weight_decay=0.1, amsgrad=True, foreach=False),
    "AdamW fused": lambda p: AdamW(p, lr=1e-2, weight_decay=0.1, fused=True),
}
PROCESSES: dict[str, dict[str, bool]] = {
    "1": {},
    "2": {},
    "2, bucket views": {"gradient_as_bucket_view": True},
    "2, static graph": {"static_graph": True},
    "2, unused parameters": {"find_unused_parameters": True},
}
CLIPPING: dict[str, dict[str, Any]] = {
    "none": {},
    "norm": {"gradient_clip_val": 0.1},
    "value": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
}


@dataclass(frozen=True)
class Cell:
    """One fit."""

    method: str
    processes: str
    precision: str
    accumulate: int
    compiled: bool
    clip: str
    optimizer: str

    @property
    def impossible(self) -> bool:
        """What torch or Lightning cannot do, with or without this project.

        Fused optimizers unscale gradients inside their step: refused here, and with clipping by Lightning. A first step
        without reduction, as accumulation begins, breaks a static graph inside torch.
        """
        fused = "fused" in self.optimizer
        scaled = self.precision == "16-mixed" or (self.precision == "bf16-mixed" and self.clip != "none")
        return (fused and scaled) or (self.processes == "2, static graph" and self.accumulate > 1)

    def __str__(self) -> str:
        return ", ".join(
            f"{value}" if name != "compiled" else f"compiled {value}" for name, value in asdict(self).items()
        )


SETTINGS: dict[str, list[Any]] = {
    "method": [method.name for method in METHODS],
    "processes": list(PROCESSES),
    "precision": ["32-true", "bf16-mixed", "16-mixed"],
    "accumulate": [1, 3],
    "compiled": [False, True],
    "clip": list(CLIPPING),
    "optimizer": list(OPTIMIZERS),
}


def pairs(cell: Cell) -> set[tuple[tuple[str, Any], ...]]:
    """The values of every two settings."""
    return set(combinations(asdict(cell).items(), 2))


def covering() -> list[Cell]:
    """Cells in which all possible pairs of values meet, chosen greedily and always alike."""
    names = [field.name for field in fields(Cell)]
    first = Cell(**{name: values[0] for name, values in SETTINGS.items()})
    missing = {
        ((one, a), (other, b)): None
        for one, other in combinations(names, 2)
        for a in SETTINGS[one]
        for b in SETTINGS[other]
        if not replace(first, **{one: a, other: b}).impossible
    }
    cells: list[Cell] = []

    def worth(cell: Cell, name: str) -> tuple[int, int]:
        """The pairs it adds; among equals the value that occurred least."""
        return sum(pair in missing for pair in pairs(cell)), -sum(
            getattr(cell, name) == getattr(c, name) for c in cells
        )

    while missing:
        (one, a), (other, b) = next(iter(missing))
        cell = replace(first, **{one: a, other: b})
        for name in names:
            if name not in (one, other):
                candidates = [replace(cell, **{name: value}) for value in SETTINGS[name]]
                cell = max((c for c in candidates if not c.impossible), key=lambda c, name=name: worth(c, name))
        for pair in pairs(cell):
            missing.pop(pair, None)
        cells.append(cell)
    return cells


class Module(TinyModule):
    """With the optimizer of a cell, and without batch norm, whose statistics differ between processes."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell
        self.network[1] = torch.nn.Identity()
        if cell.compiled:
            self.network.compile()

    def configure_optimizers(self) -> Optimizer:
        return OPTIMIZERS[self.cell.optimizer](self.parameters())


def fit(cell: Cell) -> None:
    """Fit and check; raises what is found."""
    method = next(method for method in METHODS if method.name == cell.method)
    module, owner = Module(cell), method.build(0.8)
    witness = Witness(owner, method)
    processes = int(cell.processes[0])
    device = "cuda" if torch.cuda.is_available() and processes == 1 else "cpu"
    options: dict[str, Any] = {**CLIPPING[cell.clip], "accumulate_grad_batches": cell.accumulate}
    if cell.precision == "16-mixed":
        options["plugins"] = [MixedPrecision("16-mixed", device, torch.amp.GradScaler(device, init_scale=16.0))]
    else:
        options["precision"] = cell.precision
    if processes > 1:
        options |= {"devices": processes, "strategy": DDPStrategy(**PROCESSES[cell.processes])}
    fitted = trainer([owner, witness], accelerator="gpu" if device == "cuda" else "cpu", max_steps=13, **options)
    fitted.fit(module, DataLoader(data(96), batch_size=16 // processes))
    witness.check_end(fitted)
    assert witness.steps == 13 * cell.accumulate
    assert math.isfinite(module.losses[-1])
    if processes > 1:
        weights = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
        everywhere = fitted.strategy.all_gather(torch.cat([weights, torch.tensor([owner.masks.digest() / 2**63])]))
        assert torch.equal(everywhere[0], everywhere[1]), "ranks differ"


def results(cells: list[Cell]) -> Iterator[dict[str, Any]]:
    """A row for each cell: what it is, how it ended, how long it took."""
    for cell in cells:
        begun = time.perf_counter()
        try:
            fit(cell)
            result = "passed"
        except Exception as error:  # whatever it is, the table says so and the command fails
            result = f"{type(error).__name__}: {error}".splitlines()[0]
        torch.compiler.reset()
        yield {**asdict(cell), "result": result, "seconds": f"{time.perf_counter() - begun:.1f}"}


def on_two_processes() -> list[dict[str, Any]]:
    """The rows of the cells of two processes, which are launched for them."""
    environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}{os.pathsep}{Path(__file__).parent}"}
    ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows"
        subprocess.run([*ranks, __file__, "--rows", str(rows)], env=environment, check=True)
        return [json.loads(line) for line in rows.read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="CSV file to write")
    parser.add_argument("--alone", action="store_true", help="only cells of one process, on a GPU where there is one")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    alone = [cell for cell in covering() if cell.processes == "1"]
    if chosen.rows:
        for row in results([cell for cell in covering() if cell.processes != "1"]):
            if os.environ["RANK"] == "0":
                print(*row.values(), sep=", ", flush=True)
                with chosen.rows.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        return
    source, failed, seen = provenance(), 0, 0
    together = [] if chosen.alone else on_two_processes()
    if chosen.results:
        chosen.results.unlink(missing_ok=True)
    for row in [*together, *results(alone)]:
        seen, failed = seen + 1, failed + (row["result"] != "passed")
        if row not in together:
            print(*row.values(), sep=", ", flush=True)
        if chosen.results:
            append_row(chosen.results, {**row, **source}, [*row, *source])
    print(f"{seen - failed} of {seen} cells passed")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
