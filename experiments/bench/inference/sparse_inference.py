"""Measure how fast sparse networks run: SparseModel against torch and other runtimes, in turns in one process.

Without a network or a checkpoint: a table of networks, then sizes on disk and first calls.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from ...pages.inference_page import EAGER, OURS, milliseconds
from ...run.command import add_trust, command_parser, one_line
from ...run.configuration import run_name
from ...run.rows import check_rows
from ...run.trained import load_trained
from .footprint import footprint
from .measured import Case, Measured, Timing
from .networks import IMAGES, NETWORKS, sparse_network, sparsity_of, test_image
from .peers import PEERS, Run, Subject, flattened, relative_error
from .rows import COLUMNS, append_rows

SEED, ROUNDS, PAUSE = 0, 10, 0.01
CALLS, TURN = 5, 0.05  # the least number of calls in a turn, and its least seconds


CASES = [
    *(Case("ResNet50", sparsity) for sparsity in (0.5, 0.8, 0.9, 0.95)),
    Case("ResNet50", 0.9, 16),
    *(Case("RePose", sparsity) for sparsity in (0.8, 0.9)),
    *(Case("Linear", 0.9, batch, IMAGES["Linear"]) for batch in (1, 64)),
]


def measure(case: Case, network: nn.Module, image: Tensor, peers: Sequence[str], rounds: int) -> Measured:
    """Call all peers in turns; ``missing`` says why a peer cannot run."""
    begun, measured = time.perf_counter(), Measured(case)
    runs: dict[str, Run] = {}
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(network, image, Path(folder))
        for name in peers:
            try:
                runs[name] = PEERS[name](subject)
                runs[name]()
            except Exception as error:  # a peer may fail in any way, and the table says how
                if name in (OURS, *EAGER[:1]):
                    raise
                runs.pop(name, None)
                measured.missing[name] = one_line(error)
        wanted = flattened(runs[EAGER[0]]())
        errors = {name: relative_error(run(), wanted) for name, run in runs.items()}
        seconds = by_turns(runs, rounds)
    for name, values in seconds.items():
        low, middle, high = (1e3 * value for value in statistics.quantiles(values, n=4))
        measured.timings[name] = Timing(middle, low, high, errors[name])
    measured.report = subject.ours.report()
    measured.minutes = (time.perf_counter() - begun) / 60
    return measured


def by_turns(runs: Mapping[str, Run], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each call; before a turn other threads come to rest, and a call fetches the weights."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(PAUSE)
            once = timed(run)
            seconds[name] += (timed(run) for _ in range(min(100, max(CALLS, int(TURN / once)))))
    return seconds


def timed(run: Callable[[], Any]) -> float:
    """Return the seconds of a call."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def table(measured: Measured) -> Table:
    """Draw milliseconds, the fastest first, the speed over eager torch, and the relative errors of outputs."""
    case = measured.case
    shape = " x ".join(map(str, (case.batch, *case.image)))
    title = f"{case.network}, {case.sparsity:.0%} sparse, input {shape}, {torch.get_num_threads()} threads"
    missing = [f"{name}: {reason}" for name, reason in measured.missing.items()]
    drawn = Table(title=title, caption="\n".join(["not measured:", *missing]) if missing else None)
    for column in ("", "ms", "quartiles", "over eager", "error"):
        drawn.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, timing in sorted(measured.timings.items(), key=lambda item: item[1].ms):
        quartiles = f"{milliseconds(timing.low)} .. {milliseconds(timing.high)}"
        drawn.add_row(
            name, milliseconds(timing.ms), quartiles, f"{measured.eager / timing.ms:.2f}", f"{timing.error:.0e}"
        )
    return drawn


def chosen_cases(chosen: argparse.Namespace) -> Iterator[tuple[Case, nn.Module, Tensor]]:
    """Yield the case that the arguments name, or all cases of the table."""
    if chosen.checkpoint:
        cli = load_trained(chosen.checkpoint, chosen.config, data=chosen.data, trust=chosen.trust)
        image = torch.cat([test_image(cli)] * chosen.batch)
        name = run_name(chosen.checkpoint, chosen.config)
        case = Case(name, round(sparsity_of(cli.model.network), 4), chosen.batch, tuple(image.shape[1:]))
        yield case, cli.model.network, image
        return
    cases = CASES
    if chosen.network:
        shape = tuple(chosen.input or IMAGES.get(chosen.network, Case.image))
        cases = [Case(chosen.network, chosen.sparsity, chosen.batch, shape)]
    for case in cases:
        torch.manual_seed(SEED)
        image = torch.randn(case.batch, *case.image)
        yield case, sparse_network(case.network, case.sparsity, SEED), image


def main(args: Sequence[str] = ()) -> None:
    """Measure, print, and append rows if there is a file for them."""
    chosen = _parser().parse_args(args)
    if chosen.checkpoint and chosen.network:
        raise ValueError("--checkpoint and --network are both given: choose one")
    if min(chosen.batch, chosen.rounds) < 1:
        raise ValueError(f"--batch is {chosen.batch} and --rounds {chosen.rounds}; both are 1 or more")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    if chosen.results:
        check_rows(chosen.results, COLUMNS)
    console = Console()
    peers = [name for name in PEERS if name in (OURS, EAGER[0], *chosen.peers)]
    alone = bool(chosen.network or chosen.checkpoint)
    measured = []
    for case, network, image in chosen_cases(chosen):
        measured.append(measure(case, network, image, peers, chosen.rounds))
        if not chosen.json:
            console.print(table(measured[-1]))
            if alone:
                print(measured[-1].report)
    facts = [] if alone else footprint("ResNet50", 0.9, (3, 224, 224), SEED)
    if chosen.json:
        print(json.dumps({"cases": list(map(asdict, measured)), "facts": list(map(asdict, facts))}, indent=2))
    for fact in () if chosen.json else facts:
        console.print(f"{fact.network}, {fact.sparsity:.0%} sparse: {fact.what}: {fact.value:,.3f} {fact.unit}")
    if chosen.results:
        append_rows(chosen.results, measured, facts, SEED)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("bench sparse-inference", __doc__)
    parser.add_argument("--network", choices=NETWORKS, metavar="NAME", help=f"one of {', '.join(NETWORKS)}")
    parser.add_argument("--sparsity", type=float, default=0.9, help="of all layers but the first, default 0.9")
    parser.add_argument("--input", type=int, nargs="+", help="shape of an image, default: what the network is made for")
    parser.add_argument("--batch", type=int, default=1, help="images at once, default 1")
    parser.add_argument("--checkpoint", type=Path, help="of a run of python -m experiments fit")
    parser.add_argument("--config", type=Path, help="the run's YAML file; default: config.yaml in the run's folder")
    add_trust(parser)
    parser.add_argument("--data", type=Path, help="folder of its data set; default: the configuration's")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns of each, default {ROUNDS}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--results", type=Path, help="CSV file that rows are added to")
    return parser
