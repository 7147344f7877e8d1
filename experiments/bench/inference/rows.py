"""The rows of results that the benches of sparse inference write."""

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
    """Append a row for each number, all with the same ``run``: times compare within one run alone."""
    same = {"run": datetime.now().isoformat(timespec="seconds"), "data": "random", "seed": seed, **source()}
    for row in (*_timings(measured), *_facts(facts)):
        append_row(path, {**row, **same}, COLUMNS)


def source() -> dict[str, str]:
    """Return the provenance, with the versions of runtimes and what the processor can do."""
    general = provenance()
    versions = [f"{name} {installed}" for name in MORE if (installed := _version(name))]
    capability = torch.backends.cpu.get_cpu_capability()
    amx = " with AMX" if torch.cpu._is_amx_tile_supported() else ""
    return {
        **general,
        "versions": ", ".join([general["versions"], *versions]),
        "machine": f"{general['machine']}, {capability}{amx}",
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _timings(measured: Sequence[Measured]) -> Iterator[Mapping[str, object]]:
    for result in measured:
        case = {"network": result.case.network, "batch": result.case.batch, "sparsity": result.case.sparsity}
        case["image"] = "x".join(map(str, result.case.image))
        for name, timing in result.timings.items():
            spread = {"value": f"{timing.ms:.4g}", "low": f"{timing.low:.4g}", "high": f"{timing.high:.4g}"}
            row = {"what": name, "unit": "ms", "error": f"{timing.error:.1e}", "minutes": f"{result.minutes:.1f}"}
            yield {**case, **row, **spread}


def _facts(facts: Sequence[Fact]) -> Iterator[Mapping[str, object]]:
    for fact in facts:
        row = {"network": fact.network, "sparsity": fact.sparsity, "what": fact.what, "unit": fact.unit}
        yield {**row, "value": f"{fact.value:.4g}"}
