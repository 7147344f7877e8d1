"""The tables of a study, made from what its runs left."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor

from callbacks import read_spectrum
from callbacks.sparsity import Uniform, generator_for, select, signal_propagation
from callbacks.sparsity.analysis.propagation import heterogeneous_masks
from datamodules import MNISTDataModule
from lightning_modules.networks import LeNet5

from ..analysis import (
    accuracy,
    disagreement,
    ensemble_accuracy,
    js_divergence,
    kl_divergence,
    l2_distances,
    loss_along_line,
    mds_map,
    over_pairs,
    to_reference,
)
from ..run.progress import progress, track
from ..run.rows import read_rows, write_rows
from . import published
from .arms import INITIALIZATIONS, TICKETS
from .train import Settings, read_product

Row = Mapping[str, object]
Run = dict[str, Any]

# Groups of the paper's table, with their arm and the pruned run that they are compared with.
GROUPS = [
    *((f"lottery, ticket {ticket}", f"lottery-{ticket}", ticket) for ticket in range(TICKETS)),
    ("scratch", "scratch-same-init", 0),
    ("scratch (diff. init)", "scratch-unit", 0),
    ("scratch, masked dense", "scratch-dense", 0),
    ("prune restart", "prune-restart", 0),
    ("diff. pruned", "pruned", 0),
    ("SET", "set-unit", 0),
    ("RigL", "rigl-unit", 0),
]


class Runs:
    """The finished runs of a study that trained; those that failed are counted in the table of runs alone."""

    def __init__(self, settings: Settings, seeds: int) -> None:
        self.settings, self.seeds = settings, seeds

    def trained(self, arm: str) -> dict[int, Run]:
        """Return the runs of an arm by their seed."""
        runs = {}
        for seed in range(self.seeds):
            if (path := self.settings.product(arm, seed)).exists():
                run = read_product(path)
                if not int(str(run["row"]["failed"])):
                    runs[seed] = run
        return runs

    def pruned(self, seed: int) -> Run:
        return read_product(self.settings.product("pruned", seed))


def write_tables(settings: Settings, seeds: int, results: Path, images: int = 60_000) -> None:
    """Write every table of the study but that of its runs.

    Args:
        settings: the settings of the study.
        seeds: runs of every arm.
        results: folder of the CSV files.
        images: training images, from the first on, that the loss between two solutions is measured on.
    """
    runs = Runs(settings, seeds)
    mnist = MNISTDataModule(**{"val_size": 0, "batch_size": 250, **dict(settings.data)})
    mnist.prepare_data()
    mnist.setup()
    labels = torch.cat([label for _, label in mnist.test_dataloader()])
    train = mnist.train_dataloader().dataset
    indices = range(min(images, len(train)))  # type: ignore[arg-type]  # torch's Dataset does not declare __len__
    batches = [train.__getitems__(list(indices[i : i + 250])) for i in indices[::250]]  # type: ignore[attr-defined]
    bars = progress()
    tables = {
        "signal": signals(seeds, bars),
        "similarity": similarity(runs, labels),
        "gradient_norm": logged(runs, "grad_flow/probe", "norm"),
        "gradient_change": logged(runs, "grad_flow/delta", "change"),
        "distances": distances(runs),
        "map": solution_map(runs),
        "hessian": spectra(settings),
        "interpolation": interpolation(runs, batches, bars),
    }
    with bars:
        for name in track(bars, list(tables), "tables"):
            write_rows(results / f"{name}.csv", tables[name])


def signals(seeds: int, bars: Progress) -> Iterator[Row]:
    """Measure the deviation of the outputs at initialization, under masks that starve some units more than others."""
    cases = [(sparsity, *named) for sparsity in published.SIGNAL["dense"] for named in INITIALIZATIONS.items()]
    for sparsity, name, initialization in track(bars, cases, "signals"):
        sigmas = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            network = LeNet5(in_channels=3)
            weights = select(network)
            counts = Uniform()({name: weight.parameter.shape for name, weight in weights.items()}, sparsity)
            masks = heterogeneous_masks(weights, counts, seed=seed)
            for layer, (key, weight) in enumerate(weights.items()):
                values = initialization(weight, masks[key], generator_for(seed, layer))
                weight.parameter.data.copy_(values)
            sigmas.append(signal_propagation(network, (3, 28, 28), seed=seed).output)
        yield {
            "initialization": name,
            "sparsity": f"{sparsity:.2f}",
            "seeds": seeds,
            "sigma": f"{statistics.mean(sigmas):.3g}",
        }


def similarity(runs: Runs, labels: Tensor) -> Iterator[Row]:
    """Yield the paper's table of function space: accuracy, ensemble, disagreement, KL and JS of each group of runs."""
    for group, arm, pruned in GROUPS:
        trained = runs.trained(arm)
        if len(trained) < 2:
            continue
        predictions = [run["probabilities"] for run in trained.values()]
        reference = runs.pruned(pruned)["probabilities"]
        others = [run["probabilities"] for seed, run in trained.items() if arm != "pruned" or seed != pruned]
        accuracies = [100 * accuracy(prediction, labels) for prediction in predictions]
        pairs, with_pruned = over_pairs(disagreement, predictions), to_reference(disagreement, others, reference)
        yield {
            "group": group,
            "runs": len(trained),
            "accuracy": f"{statistics.mean(accuracies):.2f}",
            "accuracy_std": f"{statistics.pstdev(accuracies):.2f}",
            "ensemble": f"{100 * ensemble_accuracy(predictions, labels):.2f}",
            "disagreement": f"{pairs.mean:.4f}",
            "disagreement_std": f"{pairs.std:.4f}",
            "disagreement_pruned": f"{with_pruned.mean:.4f}",
            "disagreement_pruned_std": f"{with_pruned.std:.4f}",
            "kl": f"{over_pairs(kl_divergence, predictions).mean:.4f}",
            "js": f"{over_pairs(js_divergence, predictions).mean:.4f}",
        }


def logged(runs: Runs, key: str, column: str) -> Iterator[Row]:
    """Yield a metric of every run over its steps; failed runs are included, since theirs matter most."""
    for path in sorted(runs.settings.folder.glob("*/[0-9]*/metrics.csv")):
        arm, seed = path.parts[-3:-1]
        if not runs.settings.product(arm, int(seed)).exists():
            continue
        for row in read_rows(path):
            step = int(row["step"])
            if row.get(key) and (step <= 2000 or step % 500 == 0):
                yield {"arm": arm, "seed": seed, "step": step, column: f"{float(row[key]):.4f}"}


def distances(runs: Runs) -> Iterator[Row]:
    """Yield the L2 distance of each run's start and end to the pruned solution whose masks it began with."""
    for _, arm, pruned in GROUPS:
        if arm == "pruned":
            continue
        trained = runs.trained(arm)
        target = runs.pruned(pruned)["end"] if trained else {}
        for seed, run in trained.items():
            start, end = l2_distances([target, run["start"], run["end"]], list(target))[0, 1:]
            yield {"arm": arm, "seed": seed, "pruned": pruned, "start": f"{start:.2f}", "end": f"{end:.2f}"}


def solution_map(runs: Runs) -> Iterator[Row]:
    """Yield the paper's map of weight space: starts and ends of runs around each pruned solution."""
    for ticket in range(TICKETS):
        tickets, scratch = runs.trained(f"lottery-{ticket}"), runs.trained("scratch-unit") if ticket == 0 else {}
        if not tickets:
            continue
        pruned = runs.pruned(ticket)
        points = {"pruned": pruned["end"]}
        for seed, run in tickets.items():
            points |= {"lottery start": run["start"], f"lottery end {seed}": run["end"]}
        for seed, run in scratch.items():
            points |= {f"scratch start {seed}": run["start"], f"scratch end {seed}": run["end"]}
        plane = mds_map(l2_distances(list(points.values()), list(pruned["end"])))
        for name, (x, y) in zip(points, plane.points - plane.points[0], strict=True):
            yield {"ticket": ticket, "point": name, "x": f"{x:.2f}", "y": f"{y:.2f}", "stress": f"{plane.stress:.3f}"}


def interpolation(runs: Runs, batches: Sequence[tuple[Tensor, Tensor]], bars: Progress) -> Iterator[Row]:
    """Yield the training loss on the line from a start or an end to the pruned solution with the same masks."""
    network = LeNet5().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch omits it
    arms = [*((f"lottery-{ticket}", ticket, [0]) for ticket in range(TICKETS)), ("scratch-unit", 0, range(runs.seeds))]
    trained = {arm: runs.trained(arm) for arm, *_ in arms}
    lines = [
        (arm, pruned, seed, kind)
        for arm, pruned, seeds in arms
        for seed in sorted(set(seeds) & set(trained[arm]))
        for kind in ("start", "end")
    ]
    for arm, pruned, seed, kind in track(bars, lines, "lines"):
        run, target = trained[arm][seed], runs.pruned(pruned)
        profile = loss_along_line(
            network, run[kind], target["end"], batches, start_masks=run["masks"], end_masks=target["masks"]
        )
        for alpha, loss in zip(profile.alphas, profile.losses, strict=True):
            yield {
                "arm": arm,
                "seed": seed,
                "from": kind,
                "images": sum(len(label) for _, label in batches),
                "alpha": f"{alpha:.2f}",
                "loss": f"{loss:.4f}",
            }


def spectra(settings: Settings) -> Iterator[Row]:
    """Yield what the spectra of the Hessian say before and after mask updates."""
    for path in sorted(settings.folder.glob("*/[0-9]*/hessian/step*.pt")):
        step, when = path.stem.removeprefix("step").split("_", 1)
        spectrum = read_spectrum(path)
        yield {
            "arm": path.parts[-4],
            "seed": path.parts[-3],
            "step": int(step),
            "when": when,
            "dimensions": len(spectrum.eigenvalues),
            "smallest": f"{spectrum.smallest:.4f}",
            "largest": f"{spectrum.largest:.4f}",
            "negative": int((spectrum.negative_share * len(spectrum.eigenvalues)) + 0.5),
        }
