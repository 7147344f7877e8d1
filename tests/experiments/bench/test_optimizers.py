"""Every optimizer that is installed: zeros outside the masks, state that is cleared, or a refusal by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from experiments.bench.optimizers import grown_weights, optimizers
from experiments.bench.optimizers.entrywise_adamw import EntrywiseAdamW
from experiments.bench.optimizers.kinds import KINDS, Kind
from experiments.run.rows import read_rows

REFUSED = {"LBFGS": "SET does not support LBFGS", "SparseAdam": "SparseAdam does not support dense gradients"}
NO_ENTRIES = ("Adafactor",)  # keeps state of rows and columns alone


@pytest.mark.filterwarnings("ignore")  # other libraries warn of themselves
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_the_table_says_holds_with_every_optimizer(kind: Kind) -> None:
    if kind.library != "torch":
        pytest.importorskip(kind.library, reason=f"{kind.library} is not installed")
    row = optimizers.measure(kind, steps=8)
    assert str(row["refused"]).startswith(REFUSED.get(kind.name, ""))
    assert bool(row["refused"]) == (kind.name in REFUSED)
    if not row["refused"]:
        assert row["outside"] == row["uncleared"] == 0
        assert bool(row["states"]) != (kind.name in NO_ENTRIES)
        assert 0 < float(row["first"]) <= float(row["most"])


def test_a_row_that_breaks_a_promise_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget_half(optimizer: torch.optim.Optimizer, weight: nn.Parameter, kept: torch.Tensor) -> None:
        optimizer.state[weight]["exp_avg"].masked_fill_(~kept, 0)

    monkeypatch.setattr("callbacks.parts.part.clear_state", forget_half)
    assert optimizers.measure(KINDS[1], steps=8)["uncleared"] > 100
    monkeypatch.setattr("callbacks.parts.part.clear_state", lambda *_: None)
    assert "weights outside the masks are not 0" in str(optimizers.measure(KINDS[1], steps=8)["refused"])


def test_rows_of_missing_libraries_are_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(parameters: object) -> torch.optim.Optimizer:
        raise ImportError("No module named 'nowhere'")

    optimizers.main(tmp_path / "rows.csv", [KINDS[0], Kind("Nothing", "nowhere", missing)], steps=3)
    [row] = read_rows(tmp_path / "rows.csv")
    assert row["optimizer"] == "SGD"
    assert "pip install nowhere" in capsys.readouterr().out


def test_counters_of_each_weight_begin_as_those_of_a_new_parameter_and_are_adamw_otherwise() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(3)) for _ in range(2))
    entrywise, adamw = EntrywiseAdamW([ours], lr=0.1), torch.optim.AdamW([theirs], lr=0.1)
    for _ in range(5):
        ours.grad = theirs.grad = torch.randn(3)
        entrywise.step()
        adamw.step()
    torch.testing.assert_close(ours, theirs)
    for state in entrywise.state[ours].values():
        state[0] = 0
    before = ours.detach().clone()
    entrywise.step()
    assert (before - ours)[0].abs().item() == pytest.approx(0.1, rel=0.1)


def test_both_counters_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grown_weights, "RATES", (1e-2,))
    grown_weights.main(tmp_path / "rows.csv", seeds=[0], steps=120)
    grown_weights.main(tmp_path / "rows.csv", seeds=[0], steps=120)  # goes on: nothing is left to do
    rows = read_rows(tmp_path / "rows.csv")
    assert [row["counters"] for row in rows] == ["layer", "weight"]
    assert all(float(row["accuracy"]) > 0.5 for row in rows)
