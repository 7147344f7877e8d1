"""What all commands share: the name of the program, and one readable line when something is wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

PROGRAM = "python -m experiments"
DEBUG = "--debug"
TRUST = "--trust"


def run_command(main: Callable[[Sequence[str]], object]) -> None:
    """Call ``main`` with the shell's arguments, and end the process if that fails.

    An exception becomes ``error: <message>`` on stderr and exit code 1; with ``--debug``, anywhere among the arguments,
    it is raised. Ctrl-C ends with exit code 130.
    """
    arguments = [argument for argument in sys.argv[1:] if argument != DEBUG]
    try:
        main(arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as end:
        # An interrupted Trainer ends the process itself, as if it had failed.
        sys.exit(130 if isinstance(end.__context__, KeyboardInterrupt) else end.code)
    except Exception as error:
        if DEBUG in sys.argv[1:]:
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(1)


def run_old_form(verb: str, main: Callable[[Sequence[str]], object]) -> None:
    """Run a command that was started as ``python -m experiments.VERB``, and name the new form in one line on stderr."""
    old = f"{PROGRAM}.{verb.replace('-', '_')}"
    print(f"`{old}` goes with the next release: write `{PROGRAM} {verb}`", file=sys.stderr)
    run_command(main)


def command_parser(verb: str, description: str | None) -> argparse.ArgumentParser:
    """Return an empty parser for the arguments of a verb, such as ``"bench"`` or ``"bench sparse-trained"``."""
    return argparse.ArgumentParser(prog=f"{PROGRAM} {verb}", description=description)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the argument that lets files which were found beside a checkpoint name any code."""
    parser.add_argument(TRUST, action="store_true", help="import what the run's own config.yaml names, wherever it is")


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, with the error's type if the message alone would say little.

    Example:
        >>> one_line(ValueError("sparsity is 1.5; it is in [0, 1)"))
        'sparsity is 1.5; it is in [0, 1)'
        >>> one_line(KeyError("step"))
        "KeyError: 'step' (--debug shows the trace)"
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and error.__cause__ is not None:
        return one_line(error.__cause__)  # jsonargparse tells first what it tried, and last what was wrong
    said = lines[0] if lines else ""
    if " " not in said:
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    elif len(lines) == 1:
        return said
    return f"{said} ({DEBUG} shows the {'trace' if len(lines) < 2 else 'rest'})"
