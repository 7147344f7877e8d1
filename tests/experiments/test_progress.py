"""Progress of long work."""

from __future__ import annotations

import io

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from rich.console import Console
from rich.progress import Progress

from experiments.progress import TimeLeft, progress, tracked, without_terminal_quiet


def test_the_time_left_is_of_what_was_done_here() -> None:
    now = 0.0
    bars = Progress(console=Console(file=io.StringIO()), get_time=lambda: now, disable=True)
    task = bars.add_task("runs", total=10, completed=4, before=4)
    assert str(TimeLeft().render(bars.tasks[0])) == "-:--:--"
    now = 3600.0
    bars.advance(task, 2)
    assert str(TimeLeft().render(bars.tasks[0])) == "2:00:00", "two runs in an hour, four are left"


def test_pieces_are_counted() -> None:
    bars = progress()
    seen = [(piece, bars.tasks[0].completed) for piece in tracked(bars, "abc", "letters")]
    assert seen == [("a", 0), ("b", 1), ("c", 2)]
    assert bars.tasks[0].completed == bars.tasks[0].total == 3


def test_bars_are_drawn_in_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for terminal in (False, True):
        monkeypatch.setattr(Console, "is_terminal", terminal)
        with progress() as bars:
            list(tracked(bars, "abc", "letters"))
            bars.console.print("a run is done")
        printed = capsys.readouterr().out
        assert ("letters" in printed) == terminal
        assert "a run is done" in printed
        bar = RichProgressBar()
        without_terminal_quiet(pl.Trainer(callbacks=bar, logger=False, enable_checkpointing=False))
        assert bar.is_enabled == terminal
