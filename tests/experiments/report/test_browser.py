"""A report in a browser: Chromium, which .ci/run installs; skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from run_folders import write_run

from experiments.bench.reports import write_runs
from experiments.report.write import write_report

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt install chromium")


class Opened(NamedTuple):
    page: Page
    said: list[str]  # on the console
    asked: list[str]  # for something from somewhere


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_runs(folder, runs=8, steps=300)
    long = "lenet5_static,initialization=UnitScaled,sparsity=0.98"
    write_run(folder / "long", "step,train/loss\n1,2.0\n2,1.0\n", name=long)
    return write_report([folder], folder / "report.html", "made up")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=[(1280, "light"), (390, "dark")], ids=lambda p: f"{p[0]}px-{p[1]}")
def opened(browser: Browser, file: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda sent: asked.append(sent.url))
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready=yes]")
    yield Opened(page, said, asked)
    page.close()


def test_it_opens_without_a_word_and_without_asking_anybody(opened: Opened, file: Path) -> None:
    assert opened.said == []
    assert opened.asked == [file.as_uri()]
    drawn = opened.page.locator(".chart svg.main-svg").count()
    assert drawn >= opened.page.locator(".chart").count() > 5


def test_it_is_no_wider_than_the_screen(opened: Opened) -> None:
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]
    boxes = page.evaluate(
        "[...document.querySelectorAll('.chart')].map(c => [c.clientHeight, c.querySelector('svg').clientHeight])"
    )
    for box, chart in boxes:
        assert 0 < chart <= box


def test_long_names_stay_where_they_belong(opened: Opened) -> None:
    inside = """([inner, outer]) => [...document.querySelectorAll(outer)].every(place =>
      [...place.querySelectorAll(inner)].every(text =>
        text.getBoundingClientRect().right <= place.getBoundingClientRect().right))"""
    assert opened.page.locator("td .run").filter(has_text="UnitScaled").count() == 1
    assert opened.page.evaluate(inside, [".run > span", "td:first-child"])
    assert opened.page.locator(".legendtext").filter(has_text="UnitScaled").count() == 1
    assert opened.page.evaluate(inside, [".legendtext", ".chart"])


def test_text_is_readable_on_its_ground(opened: Opened) -> None:
    colour, ground = (
        opened.page.evaluate(f"getComputedStyle(document.body).{name}.match(/[0-9.]+/g).map(Number)")
        for name in ("color", "backgroundColor")
    )
    assert abs(sum(colour[:3]) - sum(ground[:3])) > 3 * 150
    ticks = opened.page.evaluate(
        "getComputedStyle(document.querySelector('.xtick text')).fill.match(/[0-9.]+/g).map(Number)"
    )
    assert ticks[:3] == colour[:3]


def test_charts_say_what_is_under_the_pointer(opened: Opened) -> None:
    chart = opened.page.locator("[data-chart=c1]")
    chart.scroll_into_view_if_needed()
    plot = chart.locator(".nsewdrag").bounding_box()
    opened.page.mouse.move(plot["x"] + plot["width"] / 2, plot["y"] + plot["height"] / 2)
    told = "document.querySelector('[data-chart=c1] .hoverlayer').textContent"
    opened.page.wait_for_function(f"{told}.includes('made_up_rigl_80')")


def test_a_click_in_the_legend_hides_a_line_and_its_band(opened: Opened) -> None:
    chart = opened.page.locator("[data-chart=c1]")
    lines = chart.locator(".scatterlayer .trace")
    before = lines.count()
    chart.locator(".legendtoggle").first.click()
    opened.page.wait_for_function(
        "n => document.querySelectorAll('[data-chart=c1] .scatterlayer .trace').length < n", arg=before
    )


def test_a_choice_shows_another_figure(opened: Opened) -> None:
    page = opened.page
    heatmap = "JSON.stringify(document.querySelector('[data-chart=c4]').data[0].z)"
    before = page.evaluate(heatmap)
    page.select_option("select[data-for=c4]", index=1)
    page.wait_for_function(f"before => {heatmap} !== before", arg=before)
