"""Predict, score and evaluate human poses: python -m experiments pose COMMAND."""

from __future__ import annotations

from collections.abc import Sequence

from ..run.command import command_parser
from . import costs, evaluate, predict, reproduce, robustness, score

# Each module has add_command, which adds its parser and sets the function to run.
COMMANDS = (evaluate, predict, score, robustness, costs, reproduce)


def main(args: Sequence[str] | None = None) -> None:
    """Run one command, as from the shell; ``args`` replaces the arguments of the command line."""
    parser = command_parser("pose", __doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_command(commands)
    chosen = parser.parse_args(args)
    chosen.run(chosen)
