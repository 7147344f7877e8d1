"""What a sparse network takes on disk, how long it loads, and how long a first call takes."""

from __future__ import annotations

import copy
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from lightning_modules.sparse_inference import load_sparse, save_sparse

from .measured import Fact
from .networks import sparse_network

LOADS = 5
STARTS = 5


def footprint(name: str, sparsity: float, image: Sequence[int], seed: int) -> list[Fact]:
    """Measure sizes, load time, and first calls with an empty and a filled cache of compiled kernels."""
    values = {**measure_files(sparse_network(name, sparsity, seed)), **time_starts(name, sparsity, image, seed)}
    return [Fact(name, sparsity, what, value, unit) for (what, unit), value in values.items()]


def measure_files(network: nn.Module) -> Mapping[tuple[str, str], float]:
    """Measure MB of a ``state_dict`` and of files of :func:`save_sparse`, the least MB, and seconds of loading."""
    other = copy.deepcopy(network)
    with tempfile.TemporaryDirectory() as folder:
        dense, sparse, half = (Path(folder) / name for name in ("dense.pt", "sparse", "half"))
        torch.save(network.state_dict(), dense)
        save_sparse(network, sparse)
        save_sparse(network, half, dtype=torch.float16)
        seconds = []
        for _ in range(LOADS):
            begun = time.perf_counter()
            load_sparse(sparse, other)
            seconds.append(time.perf_counter() - begun)
        sizes = [path.stat().st_size / 1e6 for path in (dense, sparse, half)]
    return {
        ("state_dict on disk", "MB"): sizes[0],
        ("save_sparse", "MB"): sizes[1],
        ("save_sparse, fp16", "MB"): sizes[2],
        ("least possible, values and entropy of the masks", "MB"): least_bytes(network) / 1e6,
        ("load_sparse", "s"): statistics.median(seconds),
    }


def least_bytes(network: nn.Module) -> float:
    """Return the bytes of all values but the zeros of kernels, plus the entropy of masks as if they were random."""
    total = 0.0
    for name, tensor in network.state_dict().items():
        density = float(tensor.count_nonzero()) / max(1, tensor.numel())
        if tensor.dim() < 2 or not name.endswith("weight") or density in (0, 1):
            total += tensor.nbytes
            continue
        bits = -density * math.log2(density) - (1 - density) * math.log2(1 - density)
        total += tensor.nbytes * density + tensor.numel() * bits / 8
    return total


def time_starts(name: str, sparsity: float, image: Sequence[int], seed: int) -> Mapping[tuple[str, str], float]:
    """Measure seconds in pairs of new processes, of which the second finds the kernels compiled; return medians."""
    seconds_of = defaultdict(list)
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as cache:
            for state in ("empty", "filled"):
                command = [sys.executable, "-m", f"{__package__}.first_call", name, *map(str, (sparsity, seed, *image))]
                environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "OMP_NUM_THREADS": str(torch.get_num_threads())}
                done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
                for what, seconds in json.loads(done.stdout).items():
                    seconds_of[f"{what}, {state} cache", "s"].append(seconds)
    return {what: statistics.median(each) for what, each in seconds_of.items()}
