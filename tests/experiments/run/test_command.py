"""How commands end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from experiments.run.command import one_line, run_command

EXPERIMENTS = Path(__file__).parents[3] / "experiments"


def ended(error: BaseException | None, *arguments: str) -> tuple[object, list[Sequence[str]]]:
    """The exit code of a command that raises, None if it comes back, and what it was called with."""
    calls: list[Sequence[str]] = []

    def main(args: Sequence[str]) -> None:
        calls.append(args)
        if error is not None:
            raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["command", *arguments])
        try:
            run_command(main)
        except SystemExit as end:
            return end.code, calls
    return None, calls


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(ValueError("sparsity is 1.5; it is in [0, 1)"), "--a", "1") == (1, [["--a", "1"]])
    assert capsys.readouterr() == ("", "error: sparsity is 1.5; it is in [0, 1)\n")


def test_debug_anywhere_shows_the_trace() -> None:
    for arguments in (["--debug", "a"], ["a", "--debug"]):
        with pytest.raises(ValueError, match="x"):
            ended(ValueError("x"), *arguments)
    assert ended(None, "fit", "--debug", "a") == (None, [["fit", "a"]])


def test_an_interruption_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(KeyboardInterrupt())[0] == 130
    interrupted_trainer = SystemExit(1)
    interrupted_trainer.__context__ = KeyboardInterrupt()
    assert ended(interrupted_trainer)[0] == 130
    assert capsys.readouterr() == ("", "")
    assert ended(SystemExit(2))[0] == 2


def test_of_a_long_message_what_was_wrong_is_kept() -> None:
    error = ValueError("Does not validate\n  - sparsity is 1.5")
    assert one_line(error) == "Does not validate (--debug shows the rest)"
    error.__cause__ = ValueError("sparsity is 1.5")
    assert one_line(error) == "sparsity is 1.5"
    assert one_line(KeyError("step")) == "KeyError: 'step' (--debug shows the trace)"
    assert one_line(RuntimeError()) == "RuntimeError (--debug shows the trace)"
    assert one_line(ValueError("\n\n two words\n")) == "two words"


def test_every_command_ends_this_way() -> None:
    sources = {str(path.relative_to(EXPERIMENTS)): path.read_text() for path in EXPERIMENTS.rglob("*.py")}
    commands = {name: text for name, text in sources.items() if name.endswith("__main__.py") or "__main__" in text}
    assert len(commands) >= 13
    assert {name for name, text in commands.items() if not text.endswith("run_command(main)\n")} == set()
