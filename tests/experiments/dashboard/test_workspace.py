import json
from pathlib import Path

import pytest

from experiments.dashboard.command import main
from experiments.dashboard.metrics import SUMMARIES
from experiments.dashboard.workspace import workspace


@pytest.fixture
def spec(capsys: pytest.CaptureFixture[str]):
    main(["--project", "mine", "--print"])
    return json.loads(capsys.readouterr().out)


def test_the_printed_workspace_is_the_one_that_is_saved(spec) -> None:
    assert (spec["project"], spec["displayName"]) == ("mine", "Sparse Lightning")
    sections = spec["spec"]["section"]["panelBankConfig"]["sections"]
    assert [s["name"] for s in sections] == ["Accuracy", "Sparsity", "Gradient flow", "Costs", "Hessian", "Pictures"]
    assert all(section["panels"] for section in sections)
    assert [s.name for s in workspace("mine", "me").sections] == [s["name"] for s in sections]


def test_curves_are_over_optimizer_steps_and_runs_in_groups(spec) -> None:
    section = spec["spec"]["section"]
    panels = [panel for part in section["panelBankConfig"]["sections"] for panel in part["panels"]]
    lines = [panel["config"] for panel in panels if panel["viewType"] == "Run History Line Plot"]
    assert {line["xAxis"] for line in lines} == {"trainer/global_step"}
    assert [key["name"] for key in section["runSets"][0]["grouping"]] == ["group", "jobType"]


def test_what_is_shown_is_what_is_logged(spec) -> None:
    panels = [p for part in spec["spec"]["section"]["panelBankConfig"]["sections"] for p in part["panels"]]
    shown = {key for panel in panels for key in panel["config"].get("metrics", [])}
    exact = {key for key in SUMMARIES if not key.endswith("*")}
    assert {key for key in shown if not key.startswith("test/")} <= exact
    assert {"val/acc", "val/pck@0.2", "sparsity/actual", "grad_flow/active", "hessian/largest"} <= shown
    pictures = {key for panel in panels for key in panel["config"].get("mediaKeys", [])}
    names = ("gradient_flow", "mask_churn", "mask_density", "weights", "gradients", "hessian")
    assert {f"charts/{name}" for name in names} | {"pictures/worst"} <= pictures


def test_without_an_account_one_line_says_how_to_log_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit, match="1"):
        main(["--project", "mine"])
    [line] = capsys.readouterr().err.splitlines()
    assert "wandb login" in line
    assert "--print" in line
