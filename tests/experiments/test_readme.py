"""What the README says, works and is true."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import tables
from experiments.__main__ import VERBS
from experiments.tables import callbacks_readme, readme

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CALLBACKS_README = (ROOT / "callbacks" / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README + CALLBACKS_README, flags=re.DOTALL)


NAMES = [block.strip().splitlines()[0] for block in BLOCKS]
# the first, and what starts processes, in a Python of its own; the rest in this one, which has all imported
ALONE = [place for place, block in enumerate(BLOCKS) if place == 0 or "strategy=" in block]


@pytest.mark.parametrize("place", ALONE, ids=NAMES.__getitem__)
def test_code_runs_for_a_user(place: int, tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(BLOCKS[place])
    done = subprocess.run(
        [sys.executable, "user.py"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    _check_promises(BLOCKS[place], done.stdout)


@pytest.mark.filterwarnings("ignore")  # as a user's Python, which shows them
@pytest.mark.parametrize("place", [place for place in range(len(BLOCKS)) if place not in ALONE], ids=NAMES.__getitem__)
def test_more_code_runs(
    place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user.py").write_text(BLOCKS[place])
    runpy.run_path(str(tmp_path / "user.py"), run_name="__main__")
    _check_promises(BLOCKS[place], capsys.readouterr().out)


def _check_promises(block: str, printed: str) -> None:
    for promised in re.findall(r"print\(.*\)  # (.*)", block):
        assert promised in printed


def test_adding_a_method_to_a_module_takes_few_lines() -> None:
    lines = [line for line in BLOCKS[0].splitlines() if "rigl" in line.lower() or "GradientFlowMonitor" in line]
    assert len(lines) <= 5


def test_commands_name_what_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for command in re.findall(r"^make (\S+)$", README, flags=re.MULTILINE):
        assert command in targets
    for line in re.findall(r"^\.venv/bin/python -m experiments .*$", README, flags=re.MULTILINE):
        words = shlex.split(line)
        assert words[3] in VERBS
        if "--config" in words:
            assert (ROOT / words[words.index("--config") + 1]).is_file()
    assert "python -m experiments." not in README


def test_tables_are_generated_from_committed_rows_and_from_the_networks() -> None:
    assert readme() == README, "run `make results`"
    assert callbacks_readme() == CALLBACKS_README, "run `make results`"


def test_results_are_written_before_a_study_has_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("README", README), ("CALLBACKS_README", CALLBACKS_README)):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(tables, name, tmp_path / name)
    monkeypatch.setattr(tables, "LENET5", tmp_path / "lenet5")
    monkeypatch.setattr(tables, "POSES", [])
    monkeypatch.setattr(tables, "CONFORMANCE", tmp_path / "conformance.csv")
    monkeypatch.setattr(tables, "OPTIMIZERS", tmp_path / "optimizers.csv")
    monkeypatch.setattr(tables, "CLASSIFIERS", [])
    tables.main([])
    assert {path.name for path in tmp_path.iterdir()} == {"README", "CALLBACKS_README"}
