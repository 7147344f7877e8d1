"""The seconds that importing sparse inference and its first calls take in a new process, printed as JSON."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Sequence

from ...run.command import run_command


def main(args: Sequence[str]) -> None:
    """Print the seconds; torch, Lightning and the network are there before the clock starts."""
    name, sparsity, seed, *image = args
    for library in ("torch", "pytorch_lightning", "torchmetrics"):
        importlib.import_module(library)
    begun = time.perf_counter()
    sparse_inference = importlib.import_module("lightning_modules.sparse_inference")
    imported = time.perf_counter() - begun
    torch, networks = (importlib.import_module(module) for module in ("torch", "experiments.bench.inference.networks"))
    network = networks.sparse_network(name, float(sparsity), int(seed))
    batch = torch.zeros(1, *map(int, image))
    begun = time.perf_counter()
    model = sparse_inference.compile_sparse(network, batch)
    compiled = time.perf_counter() - begun
    begun = time.perf_counter()
    model(batch)
    called = time.perf_counter() - begun
    print(json.dumps({"import": imported, "compile_sparse with its first call": compiled, "second call": called}))


if __name__ == "__main__":
    run_command(main)
