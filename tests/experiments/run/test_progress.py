"""Progress of long work."""

from __future__ import annotations

import io

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar
from rich.console import Console
from rich.progress import Progress
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from callbacks import HessianSpectrum
from callbacks.sparsity import ExactSpectrum, LanczosSpectrum, SpectrumMethod
from experiments.run.progress import TimeLeft, progress, track, with_bars
from lightning_modules import SparseClassifier


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
    seen = [(piece, bars.tasks[0].completed) for piece in track(bars, "abc", "letters")]
    assert seen == [("a", 0), ("b", 1), ("c", 2)]
    assert bars.tasks[0].completed == bars.tasks[0].total == 3


def test_bars_are_drawn_in_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for terminal in (False, True):
        monkeypatch.setattr(Console, "is_terminal", terminal)
        with progress() as bars:
            list(track(bars, "abc", "letters"))
            bars.console.print("a run is done")
        printed = capsys.readouterr().out
        assert ("letters" in printed) == terminal
        assert "a run is done" in printed
        bar, monitor = RichProgressBar(), HessianSpectrum(at_steps=[0])
        with_bars(pl.Trainer(callbacks=[bar, monitor], logger=False, enable_checkpointing=False))
        assert bar.is_enabled == (monitor.progress is not None) == terminal


@pytest.mark.parametrize(
    "method", [ExactSpectrum(), LanczosSpectrum(steps=5, probes=2)], ids=lambda m: type(m).__name__
)
def test_a_hessian_has_a_bar_below_that_of_its_fit(method: SpectrumMethod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Console, "is_terminal", True)
    seen: list[tuple[str, float, float | None, bool]] = []

    class Watched(RichProgressBar):
        def refresh(self, hard: bool = False) -> None:
            super().refresh(hard)
            if self.progress is not None and self.progress.tasks[-1].description == "Hessian":
                task = self.progress.tasks[-1]
                seen.append((task.description, task.completed, task.total, task.visible))

    monitor = HessianSpectrum(probe_batch=4, at_steps=[0, 2], method=method)
    module = SparseClassifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 2)
    samples = DataLoader(TensorDataset(torch.rand(8, 4), torch.arange(8) % 2), batch_size=4)
    arguments = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    with_bars(pl.Trainer(max_steps=3, callbacks=[Watched(), monitor], **arguments)).fit(module, samples)
    all_ = {"ExactSpectrum": 10, "LanczosSpectrum": 2 * 5}[type(method).__name__]
    bars = [(done, visible) for _, done, of, visible in seen if of == all_]
    whole = [(done, done < all_) for done in range(1, all_ + 1)]
    assert [bar for bar, before in zip(bars, [None, *bars], strict=False) if bar != before] == [*whole, *whole]
