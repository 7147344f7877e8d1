"""All runs of a study, on several processes, going on where it stopped."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

from ..run.progress import progress
from ..run.rows import read_rows, write_rows
from .arms import PRUNED, Arm
from .hessian_progress import HessianProgress
from .train import Settings, read_product, train

T = TypeVar("T")


def run_study(arms: Sequence[Arm], seeds: int, settings: Settings, results: Path, processes: int) -> None:
    """Train every arm with every seed and keep one row each; finished runs are not run again.

    Args:
        arms: the arms to train; the pruned runs come first, since others start from their masks.
        seeds: 0 to ``seeds - 1``.
        settings: the settings that all runs share.
        results: CSV file, written anew after every run.
        processes: runs at a time, one thread each.

    Raises:
        ValueError: a finished run is of another length; nothing is trained then.
    """
    jobs = [(arm, seed) for seed in range(seeds) for arm in arms if arm.seeds is None or seed < arm.seeds]
    needed = {arm.masks for arm, _ in jobs if arm.masks is not None}
    first = [(PRUNED, seed) for seed in sorted(needed | {s for arm, s in jobs if arm is PRUNED})]
    rest = [job for job in jobs if job[0] is not PRUNED]
    finished = {job for job in (*first, *rest) if settings.product(job[0].name, job[1]).exists()}
    _keep(results, [_finished(settings.product(arm.name, seed), settings.steps_of(arm)) for arm, seed in finished])
    spawn = multiprocessing.get_context("spawn")
    hessians = HessianProgress(spawn, [_name(arm, seed) for arm, seed in rest if arm.spectra])
    with progress() as bars:
        task = bars.add_task("runs", total=len(first + rest), completed=len(finished), before=len(finished))
        with ProcessPoolExecutor(processes, spawn, initializer=_begin, initargs=(hessians,)) as pool:
            for stage in (first, rest):
                waiting = {
                    pool.submit(_train, arm, seed, settings): _name(arm, seed)
                    for arm, seed in stage
                    if (arm, seed) not in finished
                }
                try:
                    for done in _ended(waiting, partial(hessians.draw, bars)):
                        row = done.result()
                        _keep(results, [row])
                        bars.advance(task)
                        bars.console.print(f"{waiting[done]}: {row['test_acc']} in {row['minutes']} min")
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)  # an error is raised now, not after all runs
                    raise


def _ended(runs: Iterable[Future[T]], every_second: Callable[[], None]) -> Iterator[Future[T]]:
    """Yield the runs, each when it has ended."""
    left = set(runs)
    while left:
        done, left = wait(left, timeout=1, return_when=FIRST_COMPLETED)
        every_second()
        yield from done


def _name(arm: Arm, seed: int) -> str:
    return f"{arm.name}, seed {seed}"


def _finished(product: Path, steps: int) -> dict[str, object]:
    row: dict[str, object] = read_product(product)["row"]
    if row["steps"] != steps:
        raise ValueError(
            f"{str(product)!r} is of a run of {row['steps']} steps, not of {steps}: give studies of different --steps "
            "a --folder and --results each, or delete what is there"
        )
    return row


def _keep(results: Path, rows: Iterable[dict[str, object]]) -> None:
    """Put rows among those of the file, in place of older ones of the same arm and seed."""
    kept: dict[tuple[str, int], dict[str, object]] = {
        (row["arm"], int(row["seed"])): dict(row) for row in read_rows(results)
    }
    for row in rows:
        kept[str(row["arm"]), int(str(row["seed"]))] = row
    write_rows(results, [kept[key] for key in sorted(kept)])


_hessians: HessianProgress  # set in a worker: the progress that its study shares


def _begin(hessians: HessianProgress) -> None:
    """Prepare a worker: silence Lightning's notes on every fit, and end the worker when its study has ended."""
    global _hessians
    _hessians = hessians
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _train(arm: Arm, seed: int, settings: Settings) -> dict[str, object]:
    """Train one run in a worker."""
    return train(arm, seed, settings, partial(_hessians.note, _name(arm, seed)) if arm.spectra else None)


def _end_with(parent: BaseProcess | None) -> None:
    """End this worker with its study, since the next study writes to the same files."""
    if parent is not None:
        parent.join()
        os._exit(1)
