"""The command line: python -m experiments fit|validate|test|predict --config FILE."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.utilities.model_helpers import is_overridden
from rich.console import Console

from callbacks import TrainingFlops
from callbacks.observer import callbacks_of
from callbacks.owner_of import masks_of

from .dashboard import Dashboard
from .run.command import PROGRAM, TRUST
from .run.configuration import RunCLI
from .run.console_tables import cost_table, sparsity_table
from .run.progress import with_bars
from .run.run_names import name_runs, wandb_loggers
from .run.run_record import RunRecord
from .run.tracking import begin_runs, finish_wandb, set_wandb_mode


class SparseCLI(RunCLI):
    """A LightningCLI whose runs fill their dashboard; after a fit it tests and prints tables of weights and costs."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Let the help of a subcommand name the program as one types it, then parse."""
        for subcommand, subparser in self._subcommand_parsers.items():
            subparser.prog = f"{PROGRAM} {subcommand}"
        super().parse_arguments(parser, args)

    def before_instantiate_classes(self) -> None:
        """Choose W&B's mode, and name its run by method and seed."""
        config = self.config[self.subcommand]
        if wandb_loggers(config):
            set_wandb_mode()
        name_runs(config)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Return a Trainer with the file's callbacks and, after them, those that every fit gets."""
        if self.subcommand == "fit":
            # LightningCLI has filled config_dump for the module, which is made before the Trainer.
            self.trainer_defaults["callbacks"] = [RunRecord(), Dashboard(self.config_dump)]
        trainer = with_bars(super().instantiate_trainer(**kwargs))
        begin_runs(trainer)
        return trainer

    def after_fit(self) -> None:
        """Print the tables and score the fitted weights on the test data, if there are any."""
        if self.trainer.is_global_zero:
            masks = masks_of(self.trainer)
            if masks:
                Console().print(sparsity_table(masks), crop=False)
            for callback in callbacks_of(self.trainer):
                if isinstance(callback, TrainingFlops) and callback.flops:
                    Console().print(cost_table(self.model, masks, callback))
        if is_overridden("test_step", self.model) and is_overridden("test_dataloader", self.datamodule):
            self.trainer.test(self.model, self.datamodule)


def main(args: Sequence[str] | None = None) -> SparseCLI:
    """Run one command, as from the shell; ``args`` replaces the arguments of the command line.

    With ``--trust``, anywhere among them, a checkpoint may name code outside this project and the installed packages.

    Example:
        >>> cli = main(["fit", "--config", "experiments/configs/mnist/lenet5_rigl.yaml"])  # doctest: +SKIP
    """
    given = list(sys.argv[1:] if args is None else args)
    try:
        return SparseCLI(
            trust=TRUST in given,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"prog": PROGRAM},
            args=[argument for argument in given if argument != TRUST],
        )
    finally:
        finish_wandb()
