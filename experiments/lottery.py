"""Lottery tickets as a YAML file describes them: python -m experiments lottery --config FILE."""

from __future__ import annotations

import copy
import difflib
import functools
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml  # type: ignore[import-untyped]
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.model_helpers import is_overridden
from rich.console import Console
from rich.table import Table

from callbacks.files.safe_files import read_checkpoint, write_whole_text
from callbacks.lottery.ticket import TicketOwner

from .dashboard import Dashboard
from .dashboard.artifacts import log_pruning
from .run.command import PROGRAM, run_old_form
from .run.configuration import RunCLI, callbacks
from .run.progress import with_bars
from .run.run_names import name_runs, wandb_loggers
from .run.run_record import RunRecord
from .run.tracking import begin_runs, finish_wandb, set_wandb_mode

DATA_SEEDS = 1000  # lotteries with neighbouring data seeds share no data order

Score = Mapping[str, float]


class LotteryCLI(RunCLI):
    """A LightningCLI with the group ``lottery``, which makes a Trainer and data for every fit."""

    def before_instantiate_classes(self) -> None:
        """Begin with no ticket whose pruning has a W&B run."""
        self._pruned: set[Path] = set()  # tickets whose pruning has a W&B run

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the arguments of :class:`LotteryTicket`."""
        parser.add_class_arguments(callbacks.LotteryTicket, "lottery")

    @property
    def lottery(self) -> callbacks.LotteryTicket:
        """Return the driver that the file describes."""
        lottery: callbacks.LotteryTicket = self.config_init.lottery
        return lottery

    def check_config(self) -> None:
        """Keep seed, Trainer, model and data of this lottery in its folder; the driver checks its own settings.

        Raises:
            ValueError: the folder holds a lottery with others.
        """
        config = copy.deepcopy(self.config)
        config.pop("lottery")
        text = self.parser.dump(config, skip_none=False, skip_validation=True)
        path = self.lottery.folder / "config.yaml"
        if path.is_file():
            before = path.read_text(encoding="utf-8").splitlines()
            changes = [
                line for line in difflib.unified_diff(before, text.splitlines(), n=0) if line[1:3] not in ("--", "++")
            ]
            if changes:
                raise ValueError(
                    f"{str(path)!r} is of a lottery with other settings ({'; '.join(changes[1:6])}): give "
                    "--lottery.folder another folder, or delete this one"
                )
        elif rank_zero_only.rank == 0:  # type: ignore[attr-defined]  # Lightning takes it from the environment
            write_whole_text(text, path)

    def make_trainer(self, more: list[pl.Callback], folder: Path) -> pl.Trainer:
        """Return a Trainer with callbacks and loggers of its own; the loggers' names end in that of the fit."""
        self._announce(folder.relative_to(self.lottery.folder).as_posix())
        ticket = next((callback.ticket for callback in more if isinstance(callback, TicketOwner)), None)
        if ticket is not None and ticket.path not in self._pruned:
            self._pruned.add(ticket.path)
            for logger in self._arguments_of(ticket.path, "prune")["logger"] or []:
                if isinstance(logger, WandbLogger):
                    log_pruning(logger, ticket, self._sources(ticket))
        arguments = self._arguments_of(folder, ticket.retraining if ticket else type(self.lottery.pruning).__name__)
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False, skip_validation=True))
        own = [*(arguments["callbacks"] or []), RunRecord(), Dashboard(config)]
        trainer = with_bars(pl.Trainer(**{**arguments, "callbacks": [*own, *more]}))
        begin_runs(trainer)
        return trainer

    def _announce(self, stage: str) -> None:
        """Print which stage begins, and how long the rest takes at the pace so far."""
        stages, times = self.lottery.stages, self._begun
        times.append(time.monotonic())
        done = sum((self.lottery.folder / name / "end.ckpt").is_file() for name in stages)
        said = f"stage {stages.index(stage) + 1} of {len(stages)}: {stage}; {done} are done"
        if len(times) > 1:
            minutes = (times[-1] - times[0]) / (len(times) - 1) * (len(stages) - done) / 60
            said += f", about {minutes:.1f} min are left"
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]  # as above
            Console().print(said, highlight=False, markup=False)

    @functools.cached_property
    def _begun(self) -> list[float]:
        """Return when each stage of this process began."""
        return []

    def _arguments_of(self, product: Path, method: str) -> dict[str, Any]:
        """Return the arguments of a Trainer whose loggers say which part of the lottery this is."""
        finish_wandb()
        config = copy.deepcopy(self.config)
        if wandb_loggers(config):
            set_wandb_mode()
        for logger in config.trainer.logger if isinstance(config.trainer.logger, list) else []:
            if logger.init_args.get("name"):
                logger.init_args.name += f"/{product.relative_to(self.lottery.folder).with_suffix('')}"
        name_runs(config, method)
        return self._trainer_arguments(config)

    def _sources(self, ticket: callbacks.Ticket) -> list[Path]:
        """Return the checkpoint whose weights were pruned, and those that the ticket may have gone back to."""
        lottery = self.lottery
        before = f"level-{ticket.level - 1}/{lottery.retraining[0].name}/run-0" if ticket.level > 1 else "pretrain"
        names = [f"{before}/end.ckpt", "pretrain/rewind.ckpt", "pretrain/start.ckpt"]
        return [path for name in names if (path := lottery.folder / name).is_file()]

    def make_data(self, number: int) -> pl.LightningDataModule:
        """Return the file's data; its ``seed``, if it takes one, is 1000 times that of the file plus ``number``."""
        config = copy.deepcopy(self.config)
        if "seed" in config.data.init_args:
            config.data.init_args.seed = DATA_SEEDS * config.data.init_args.seed + number
        data: pl.LightningDataModule = self.parser.instantiate_classes(config).data
        return data

    def scores(self, ticket: callbacks.Ticket) -> list[Score]:
        """Return what the module logs on the test data, for every training run; nothing if there is no test."""
        if not (is_overridden("test_step", self.model) and is_overridden("test_dataloader", self.datamodule)):
            return [{} for _ in ticket.trained]
        return [self._test(end) for end in ticket.trained]

    def _test(self, end: Path) -> Score:
        self.model.load_state_dict(read_checkpoint(end)["state_dict"])
        arguments = {**self._trainer_arguments(self.config), "logger": False, "callbacks": None}
        trainer = with_bars(pl.Trainer(**arguments))
        [score] = trainer.test(self.model, self.datamodule, verbose=False)
        return score

    def _trainer_arguments(self, config: Any) -> dict[str, Any]:
        return dict(vars(self.parser.instantiate_classes(config).trainer))


def lottery_table(scored: Sequence[tuple[callbacks.Ticket, Sequence[Score]]]) -> Table:
    """Draw a row for each ticket: level, retraining, sparsity, and mean and range of the test scores."""
    table = Table(title="Lottery tickets")
    table.add_column("level", justify="right")
    table.add_column("retraining")
    for column in ("sparsity", "active", "runs"):
        table.add_column(column, justify="right")
    names = sorted({name for _, scores in scored for score in scores for name in score})
    for name in names:
        table.add_column(name, justify="right")
    for ticket, scores in scored:
        active = sum(ticket.masks.counts.values())
        row = [str(ticket.level), ticket.retraining, f"{ticket.sparsity:.4f}", f"{active:,}", str(len(scores))]
        table.add_row(*row, *(_mean_and_range([score[name] for score in scores]) for name in names))
    return table


def _mean_and_range(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.4f} ({min(values):.4f} - {max(values):.4f})"


def main(args: Sequence[str] | None = None) -> list[tuple[callbacks.Ticket, list[Score]]]:
    """Run or finish a lottery, print its table, and return its tickets with the test scores of their runs.

    Example:
        >>> main(["--config", "experiments/configs/mnist/lenet5_lottery.yaml"])  # doctest: +SKIP
    """
    try:
        cli = LotteryCLI(
            save_config_callback=None,
            load_from_checkpoint_support=False,  # the module would hold this object, which cannot be copied
            run=False,
            parser_kwargs={"prog": f"{PROGRAM} lottery"},
            args=list(args) if args is not None else None,
        )
        cli.check_config()
        tickets = cli.lottery.run(cli.model, cli.make_data, cli.make_trainer)
        scored = [(ticket, cli.scores(ticket)) for ticket in tickets]
    finally:
        finish_wandb()
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]  # as above
        Console().print(lottery_table(scored))
    return scored


if __name__ == "__main__":
    run_old_form("lottery", main)
