"""How commands are chosen, and how they end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from experiments.__main__ import VERBS, main
from experiments.run.command import one_line, run_command, run_old_form

LIGHTNING = ("fit", "validate", "test", "predict")
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


def test_the_old_form_of_a_command_names_the_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["quickstart_pose.py", "--steps", "3"])
        run_old_form("quickstart-pose", print)
    printed, said = capsys.readouterr()
    assert printed == "['--steps', '3']\n"
    assert said == (
        "`python -m experiments.quickstart_pose` goes with the next release: write "
        "`python -m experiments quickstart-pose`\n"
    )


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in LIGHTNING])
def test_every_command_has_its_old_form(verb: str) -> None:
    path = EXPERIMENTS / verb.replace("-", "_")
    source = (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    assert source.endswith(f'if __name__ == "__main__":\n    run_old_form("{verb}", main)\n')


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_the_program_as_one_types_it(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m experiments {verb} ")


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_without_a_verb_all_are_listed(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(args)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(VERBS)
    assert all(len(line) <= 120 for line in lines)


def test_the_list_comes_without_what_takes_long_to_import() -> None:
    code = "import sys; from experiments.__main__ import main; main([]); assert not {'torch', 'wandb'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], cwd=EXPERIMENTS.parent, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("verb", "close"),
    [
        ("swep", "(did you mean 'sweep'?)"),
        ("quickstart_pose", "'quickstart-pose' or"),
        ("--config", "'--config': `python"),
    ],
)
def test_an_unknown_verb_is_an_error_with_what_was_probably_meant(verb: str, close: str) -> None:
    with pytest.raises(ValueError, match=f"there is no command '{verb}'.*`python -m experiments` lists all") as error:
        main([verb, "file"])
    assert close in one_line(error.value)
