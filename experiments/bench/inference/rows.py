"""Rows of what benches of sparse inference found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ...run.provenance import provenance
from ...run.rows import append_row
from .measured import Fact, Measured

COLUMNS = [
    *("run", "network", "image", "batch", "sparsity", "what", "value", "unit", "low", "high", "error"),
    *("data", "seed", "minutes", "commit", "versions", "machine"),
]
MORE = ("numba", "onnxruntime", "openvino")


def append_rows(path: Path, measured: Sequence[Measured], facts: Sequence[Fact], seed: int) -> None:
    """One row for each number, all of one ``run``: only within one do times compare."""
    same = {"run": datetime.now().isoformat(timespec="seconds"), "data": "random", "seed": seed, **source()}
    for row in (*_timings(measured), *_facts(facts)):
        append_row(path, {**row, **same}, COLUMNS)


def source() -> dict[str, str]:
    """Provenance, with the versions of runtimes and what the processor can do."""
    found = provenance()
    versions = [f"{name} {installed}" for name in MORE if (installed := _version(name))]
    capability = torch.backends.cpu.get_cpu_capability()
    amx = " with AMX" if torch.cpu._is_amx_tile_supported() else ""
    return {
        **found,
        "versions": ", ".join([found["versions"], *versions]),
        "machine": f"{found['machine']}, {capability}{amx}",
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _timings(measured: Sequence[Measured]) -> Iterator[Mapping[str, object]]:
    for found in measured:
        case = {"network": found.case.network, "batch": found.case.batch, "sparsity": found.case.sparsity}
        case["image"] = "x".join(map(str, found.case.image))
        for name, timing in found.timings.items():
            spread = {"value": f"{timing.ms:.4g}", "low": f"{timing.low:.4g}", "high": f"{timing.high:.4g}"}
            row = {"what": name, "unit": "ms", "error": f"{timing.error:.1e}", "minutes": f"{found.minutes:.1f}"}
            yield {**case, **row, **spread}


def _facts(facts: Sequence[Fact]) -> Iterator[Mapping[str, object]]:
    for fact in facts:
        row = {"network": fact.network, "sparsity": fact.sparsity, "what": fact.what, "unit": fact.unit}
        yield {**row, "value": f"{fact.value:.4g}"}
