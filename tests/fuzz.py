"""Damages files at random and reads them: make fuzz.

Every reader of the project is given files of which bytes were changed, left out, doubled or put in. It refuses them
with an error of one line that names the file, or it reads them. Files with checksums are read only if they say what
they said before.

python tests/fuzz.py [--count 10000] [--seed 0] [--reader NAME ...]
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from fakes import mpii_person, write_cifar10, write_lsp, write_mnist, write_mpii, write_mpii_json
from torch import Tensor, nn

from callbacks import read_masks, read_spectrum
from callbacks.files.safe_files import read_checkpoint, write_whole
from callbacks.lottery.ticket import Ticket
from callbacks.packed import read_sparse, save_sparse
from callbacks.sparsity import prune
from datamodules import CIFAR10DataModule, MNISTDataModule
from datamodules.pose.lsp import read_lsp
from datamodules.pose.mpii_annotations import read_mpii_json, read_mpii_mat
from experiments.pose.predictions import Predictions, read_predictions, write_predictions
from experiments.report.metrics_file import read_metrics
from experiments.run.rows import read_rows
from experiments.run.run_record import read_record
from experiments.run.yaml_files import read_yaml
from lightning_modules.pose.protocols import LSP

EARLIER = Path(__file__).parent / "earlier"
MEMORY = 12 * 2**30  # bytes of addresses; who asks for more than a file can hold gets a MemoryError


class Reader(NamedTuple):
    """Writes a good file into a folder and returns its path; and reads the file.

    ``verified`` says whether the format has checksums, so that no change goes unseen.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], Any]
    verified: bool = False


def earlier(name: str) -> Callable[[Path], Path]:
    """A file of tests/earlier, as this version writes it."""

    def write(folder: Path) -> Path:
        [path] = EARLIER.glob(name)
        write_whole(torch.load(path, weights_only=True), folder / "file.ckpt")
        return folder / "file.ckpt"

    return write


def packed(folder: Path) -> Path:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 10))
    prune(network, 0.9)
    save_sparse(network, folder / "file.safetensors")
    return folder / "file.safetensors"


def copied(folder: Path) -> Path:
    return Path(shutil.copy(EARLIER / "packed.safetensors", folder))


def record(folder: Path) -> Path:
    content = {"name": "run", "method": "RigL", "minutes": 1.5, "status": "finished", "scores": {"test/acc": 0.9}}
    (folder / "run.json").write_text(json.dumps(content, indent=1))
    return folder / "run.json"


def metrics(folder: Path) -> Path:
    (folder / "metrics.csv").write_text("step,epoch,train/loss\n" + "".join(f"{n},0,{1 / n}\n" for n in range(1, 30)))
    return folder / "metrics.csv"


def rows(folder: Path) -> Path:
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["config", "seed", "machine"], *(["lenet5", n, "a, b"] for n in range(9))])
    return folder / "rows.csv"


def configuration(folder: Path) -> Path:
    return Path(shutil.copy(EARLIER.parents[1] / "experiments/configs/mnist/lenet5_rigl.yaml", folder / "config.yaml"))


def predictions(folder: Path) -> Path:
    poses = torch.arange(4 * 14 * 2, dtype=torch.float64).view(4, 14, 2)
    values = Predictions(poses + 1, poses, torch.ones(4, 14, dtype=torch.bool), torch.full((4,), 9.0).double())
    write_predictions(values, folder / "poses.npz")
    return folder / "poses.npz"


def lsp(folder: Path) -> Path:
    write_lsp(folder)
    return folder / "lsp_dataset/joints.mat"


def mpii_mat(folder: Path) -> Path:
    return write_mpii(folder, {"a.jpg": [mpii_person()], "b.jpg": [mpii_person(1)]})


def mpii_json(folder: Path) -> Path:
    write_mpii_json(folder, {"train": 3})
    return next(folder.rglob("train.json"))


def mnist(folder: Path) -> Path:
    write_mnist(folder, train=16, test=4)
    return folder / "train-images-idx3-ubyte.gz"


def cifar(folder: Path) -> Path:
    write_cifar10(folder, per_batch=2, test=2)
    return next(folder.rglob("data_batch_3"))


READERS = {
    "checkpoint": Reader(earlier("rigl-accumulates.ckpt"), read_checkpoint, verified=True),
    "masks of a checkpoint": Reader(earlier("rigl-accumulates.ckpt"), read_masks, verified=True),
    "ticket": Reader(earlier("ticket.ckpt"), Ticket.read, verified=True),
    "spectrum": Reader(earlier("spectra/*"), read_spectrum, verified=True),
    "packed": Reader(packed, read_sparse, verified=True),
    "packed masks": Reader(packed, read_masks, verified=True),
    "packed of an earlier release": Reader(copied, read_sparse),
    "run.json": Reader(record, read_record),
    "metrics.csv": Reader(metrics, read_metrics),
    "rows": Reader(rows, read_rows),
    "YAML": Reader(configuration, read_yaml),
    "predictions": Reader(predictions, lambda path: read_predictions(path, LSP)),
    "LSP": Reader(lsp, lambda path: read_lsp(path.parent)),
    "MPII .mat": Reader(mpii_mat, read_mpii_mat),
    "MPII JSON": Reader(mpii_json, read_mpii_json),
    "MNIST": Reader(mnist, lambda path: MNISTDataModule(path.parent, verify=False, download=False).read()),
    "CIFAR-10": Reader(cifar, lambda path: CIFAR10DataModule(path.parents[1], verify=False, download=False).read()),
}


def damaged(content: bytes, generator: random.Random) -> bytes:
    """Changes bits or bytes, or leaves bytes out, doubles them, or puts others in."""
    result = bytearray(content)
    for _ in range(generator.choice([1, 1, 1, 2, 5])):
        start = generator.randrange(len(result) + 1)
        end = min(len(result), start + generator.choice([1, 4, 60]))
        kind = generator.choice(["bit", "bit", "bytes", "out", "twice", "in", "end"])
        if kind == "bit" and start < end:
            result[start] ^= 1 << generator.randrange(8)
        elif kind == "bytes":
            result[start:end] = generator.randbytes(end - start)
        elif kind == "out":
            del result[start:end]
        elif kind == "twice":
            result[start:start] = result[start:end]
        elif kind == "in":
            result[start:start] = generator.choice(
                [generator.randbytes(4), b"\0", b"\xff" * 8, b"9" * 20, b"\n", b"nan"]
            )
        elif kind == "end":
            del result[start:]
    return bytes(result)


def plain(value: Any) -> Any:
    """What can be compared: tensors and arrays by their bytes."""
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, Mapping):
        return [(plain(key), plain(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "__dict__"):
        return plain({name: item for name, item in vars(value).items() if name != "path"})
    return repr(value)


@dataclass
class Finding:
    reader: str
    number: int
    what: str


def fuzz(name: str, count: int, seed: int, folder: Path) -> Iterator[Finding | str]:
    """Yields how each damaged file was taken: "refused", "read", or a finding."""
    write, read, verified = READERS[name]
    path = write(folder)
    content, expected = path.read_bytes(), plain(read(path))
    for number in range(count):
        path.write_bytes(damaged(content, random.Random(f"{name} {seed} {number}")))
        try:
            changed = plain(read(path)) != expected
        except (ValueError, FileNotFoundError) as error:
            said = str(error)
            names = path.name in said or path.parent.name in said
            raw = type(error) not in (ValueError, FileNotFoundError)
            right = names and "\n" not in said and not raw
            yield "refused" if right else Finding(name, number, f"{type(error).__name__}: {said[:300]}")
        except Exception:
            yield Finding(name, number, traceback.format_exc(limit=-4))
        else:
            yield Finding(name, number, "it was read, and says something else") if changed and verified else "read"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="damaged files of all readers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", nargs="+", choices=list(READERS), default=list(READERS), metavar="NAME")
    chosen = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    findings = []
    for name in chosen.reader:
        with tempfile.TemporaryDirectory() as folder:
            outcomes = list(fuzz(name, -(-chosen.count // len(chosen.reader)), chosen.seed, Path(folder)))
        found = [outcome for outcome in outcomes if isinstance(outcome, Finding)]
        counts = Counter("finding" if isinstance(outcome, Finding) else outcome for outcome in outcomes)
        print(f"{name}: {dict(counts)}", flush=True)
        for finding in found[:3]:
            print(f"  {finding.number}: {finding.what}", flush=True)
        findings += found
    print(f"{len(findings)} findings in {chosen.count} damaged files, seed {chosen.seed}")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
