from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from run_folders import write_run

from callbacks.checkpoint import STATE_KEY
from callbacks.files.safe_files import write_whole
from callbacks.sparsity import Masks
from experiments.bench.reports import write_runs
from experiments.report.command import main
from experiments.report.write import write_report

ROOT = Path(__file__).parents[3]


def report(*folders: Path) -> str:
    path = main([*map(str, folders), "--out", str(folders[0].parent / "out" / "report.html")])
    return path.read_text()


def figures(page: str) -> dict[str, list[dict[str, Any]]]:
    [packed] = re.findall(r'id="figures">([^<]*)<', page)
    found: dict[str, list[dict[str, Any]]] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return found


def headings(page: str) -> list[str]:
    return re.findall(r"<h2[^>]*>([^<]*)</h2>", page)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report") / "runs"
    write_runs(folder, runs=16, steps=300)
    return report(folder)


def test_everything_that_was_measured_is_shown(page: str) -> None:
    assert headings(page) == [
        "Runs",
        "Accuracy against training cost",
        "Gradient flow of the training batches",
        "Gradient behind the masks",
        "What mask updates do to gradient flow",
        "Gradient flow by layer",
        "Training loss",
        "Validation accuracy",
        "Sparsity by layer",
        "Sparsity over time",
        "Mask churn",
        "Exploration",
        "Where it comes from",
    ]
    assert "16 runs in 8 settings on made up." in page
    assert "90.40 ± 0.57" in page  # .900 and .908
    drawn = figures(page)
    [cost] = drawn["c0"]
    assert [trace["name"] for trace in cost["data"]][:2] == ["Pareto front", "made_up_rigl_80"]
    [flow] = drawn["c1"]
    lines = [trace for trace in flow["data"] if trace.get("showlegend") is not False]
    assert len(lines) == 8
    assert len(drawn["c4"]) == 8, "a heat map for each setting"


class Links(HTMLParser):
    """Whatever a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_nothing_is_fetched(page: str) -> None:
    links = Links()
    links.feed(page)
    assert links.found == ["data:,"]
    assert "@import" not in page
    assert "url(" not in page.split("<script", 1)[0]


def test_names_with_html_are_shown_as_they_are(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)></script>&amp;{{ 7 * 7 }}"
    write_run(tmp_path / "runs" / "a", "step,train/loss\n1,2.0\n", name=name, method="<b>RigL</b>", study="<i>s</i>")
    text = report(tmp_path / "runs")
    assert "<img" not in text
    assert "<b>RigL" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;&lt;/script&gt;&amp;amp;{{ 7 * 7 }}" in text
    [[loss]] = figures(text).values()
    assert loss["data"][0]["name"].startswith("&lt;img")


def test_a_run_without_some_metrics_has_dashes_and_notes(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "whole", "step,test/acc\n1,0.5\n", sparsity=0.9, bytes=2e6, status="finished")
    write_run(tmp_path / "runs" / "old", "step,train/loss\n1,2.0\n2")
    write_run(tmp_path / "runs" / "killed", "step,train/loss\n1,2.0\n", status="running")
    text = report(tmp_path / "runs")
    assert "3 runs in 3 settings" in text
    assert "\N{EN DASH}" in text
    assert "1, running" in text
    assert "1 cut lines left out" in text
    assert "50.00" in text


def test_two_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a" / "version_0", config="trainer: {max_steps: 10}")
    write_run(tmp_path / "runs" / "a" / "version_1", config="trainer: {max_steps: 20}")
    text = report(tmp_path / "runs")
    assert "a, max_steps 10" in text
    assert "a, max_steps 20" in text


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_without_runs_is_named(make: bool, tmp_path: Path) -> None:
    folder = tmp_path / "nothing"
    if make:
        folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r"nothing' (holds no run|is not there)"):
        main([str(folder)])


def test_a_report_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a")
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match="taken"):
        main([str(tmp_path / "runs"), "--out", str(tmp_path / "taken" / "report.html")])


def test_the_report_lies_in_the_first_folder_and_is_no_run_itself(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a")
    assert main([str(tmp_path / "runs")]) == tmp_path / "runs" / "report.html"
    assert main([str(tmp_path / "runs")]).is_file()


def test_the_same_runs_give_the_same_file(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a")
    first = report(tmp_path / "runs")
    assert report(tmp_path / "runs") == first


def test_pictures_of_poses_are_inside(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs" / "a")
    (folder / "pictures").mkdir()
    for step in (10, 20):
        picture = np.full((300, 1200, 3), step, np.uint8)
        cv2.imwrite(str(folder / "pictures" / f"step{step:08d}_best.png"), picture)
    text = report(tmp_path / "runs")
    [data] = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', text)
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (240, 960, 3)
    assert abs(int(shown.mean()) - 20) <= 2
    assert "a, step 20: best" in text


def test_distances_of_a_lottery_are_measured(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs" / "lottery" / "pretrain")
    mask = torch.tensor([True, True, False])
    ticket = folder.parent / "level-1" / "weights"
    about = {"level": 1, "retraining": "weights", "learning_rates": None}
    held = {STATE_KEY: {"masks": Masks({"w": mask}).state_dict()}}

    def weights(*values: float) -> dict[str, Any]:
        return {"state_dict": {"w": torch.tensor(values)}, "callbacks": held}

    write_whole(weights(3.0, 4.0, 9.0), folder / "end.ckpt")
    write_whole({**weights(0.0, 0.0, 0.0), "ticket": about}, ticket / "ticket.ckpt")
    write_whole(weights(3.0, 3.0, 0.0), ticket / "run-0" / "end.ckpt")
    text = report(tmp_path / "runs")
    assert "Distances from the pruned solution" in text
    [trace, _] = figures(text)["c0"][0]["data"]
    assert (trace["name"], trace["x"], trace["y"]) == ("lottery, level 1, weights", [5.0], [1.0])


def test_the_committed_report_is_that_of_the_committed_tables(tmp_path: Path) -> None:
    study = ROOT / "experiments" / "results" / "lenet5"
    committed = (study / "report.html").read_text()
    again = write_report([study], tmp_path / "report.html", "The paper's LeNet-5 study, run again").read_text()
    assert figures(committed) == figures(again), "run `make results`"
    table = re.compile(r"<table>.*</table>", flags=re.DOTALL)
    assert table.findall(committed) == table.findall(again)
    assert str(ROOT) not in committed
