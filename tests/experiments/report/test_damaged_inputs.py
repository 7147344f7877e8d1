"""A report about damaged files says so in a note, and the rest of it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from run_folders import write_run

from experiments.report import charts
from experiments.report.write import write_report

BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))])


def record(**entries: object) -> str:
    return json.dumps({"name": "run", "method": "RigL", "minutes": 1.0, **entries})


def ticket(path: Path) -> None:
    torch.save({"state_dict": {}, "ticket": None}, path)


# the file below the folder of a run, what is in it, and what the note says
DAMAGE: dict[str, tuple[str, str | bytes | Callable[[Path], None], str]] = {
    "half a ticket": ("lottery/level-1/weights/ticket.ckpt", b"PK\3\4 half", "ticket.ckpt: its distances are left out"),
    "another ticket": ("lottery/level-1/weights/ticket.ckpt", ticket, "ticket.ckpt: its distances are left out"),
    "distances of words": ("distances.csv", "arm,start,end\na,near,far\n", "distances.csv: its distances are left out"),
    "distances of bytes": ("distances.csv", b"arm,start,end\n\xff,1,2\n", "distances.csv: its distances are left out"),
    "a row of two cells": ("distances.csv", "arm,start,end\na,1\n", "distances.csv: its distances are left out"),
    "a study of words": ("runs.csv", "arm,seed,test_acc,minutes,steps\na,b,c,d,e\n", "runs.csv: its study is left out"),
    "scores that are null": ("run.json", record(scores=None), "run.json' is not the record of a run .*scores is None"),
    "scores of words": ("run.json", record(scores={"test/acc": "high"}), "run.json' is not the record of a run"),
    "flops in a list": ("run.json", record(flops=[1]), "run.json' is not the record of a run .*flops is"),
    "steps that are null": ("run.json", record(steps=None), "run.json' is not the record of a run .*steps is None"),
    "a record that is null": ("run.json", "null", "run.json' is not the record of a run"),
    "a deep record": ("run.json", "[" * 10**5, "run.json' is not the record of a run"),
    "a step of 1e30": ("metrics.csv", "step,loss\n1,2.0\n1e30,3\n", "metrics.csv: 1 cells that are not numbers"),
    "a step of 30 digits": ("metrics.csv", f"step,loss\n1,2.0\n{10**30},3\n", "metrics.csv: 1 cells"),
    "a step below 0": ("metrics.csv", "step,loss\n1,2.0\n-4,3\n", "metrics.csv: 1 cells that are not numbers"),
    "an alias bomb": ("config.yaml", BOMB, "config.yaml: not readable as YAML"),
    "an alias of itself": ("config.yaml", "a: &a [*a]", "config.yaml: not readable as YAML"),
    "a 13th month": ("config.yaml", "a: 2020-13-01", "config.yaml: not readable as YAML"),
    "a deep configuration": ("config.yaml", "[" * 10**4, "config.yaml: not readable as YAML"),
}


def page_of(folder: Path) -> str:
    text = write_report([folder], folder / "report.html", "runs").read_text(encoding="utf-8")
    return re.sub(r"&#39;|&#34;", "'", text)


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_what_is_damaged_is_a_note(tmp_path: Path, damage: str) -> None:
    write_run(tmp_path / "good", "step,train/loss\n1,2.0\n2,1.0\n", name="the good one", scores={"test/acc": 0.91})
    bad = write_run(tmp_path / "bad", name="the other")
    name, content, note = DAMAGE[damage]
    path = bad / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    page = page_of(tmp_path)
    assert re.search(note, page)
    assert "the good one" in page
    assert "91.00" in page


def test_a_chart_that_cannot_be_drawn_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise IndexError("no layer 7")

    monkeypatch.setattr(charts, "layers_over_time", fail)
    write_run(tmp_path / "good", "step,train/loss\n1,2.0\n2,1.0\n", name="the good one", scores={"test/acc": 0.91})
    page = page_of(tmp_path)
    assert "Gradient flow by layer: this chart cannot be drawn, no layer 7" in page
    assert "Training loss" in page
