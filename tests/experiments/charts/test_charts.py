from __future__ import annotations

import html
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.charts import churn_heatmap, density_maps, flow_heatmap, histograms, spectrum
from experiments.charts.text import escaped

NASTY = "<b>net</b> & $x^2$"


def plain(figure) -> str:
    """As W&B writes it."""
    text = json.dumps(figure.to_plotly_json(), allow_nan=False)  # what is not JSON, or NaN, raises
    assert "bdata" not in text
    return text


def test_flow_is_coloured_by_its_logarithm_and_told_as_it_is() -> None:
    figure = flow_heatmap(["a", "b"], [0, 50], [[1.0, 100.0], [0.0, math.nan]])
    [trace] = figure.data
    assert [list(row) for row in trace.z] == [[0.0, 2.0], [None, None]]
    assert [list(row) for row in trace.customdata] == [[1.0, 100.0], [0.0, None]]
    assert (list(trace.x), list(trace.y)) == ([0, 50], ["a", "b"])
    assert list(trace.colorbar.ticktext) == ["1e0", "1e1", "1e2"]
    plain(figure)


def test_flow_without_a_number_is_an_empty_picture() -> None:
    plain(flow_heatmap(["a"], [0], [[0.0]]))
    plain(churn_heatmap([], [], []))


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="values has rows of .2. numbers, 1 rows; it needs 2 rows"):
        flow_heatmap(["a", "b"], [0, 50], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="one for each step"):
        churn_heatmap(["a"], [0, 50], [[1.0]])


def test_density_is_that_of_blocks_outputs_down_inputs_to_the_right() -> None:
    mask = torch.zeros(128, 64, 3, 3, dtype=torch.bool)
    mask[:64, :, 0, 0] = True  # a ninth of the first half of the outputs
    figure = density_maps({"conv": mask})
    [trace] = figure.data
    values = [[v for v in row if v is not None] for row in trace.z]
    values = [row for row in values if row]
    assert len(values) == len(values[0]) == 64
    assert values[0] == [0.111] * 64
    assert values[63] == [0.0] * 64
    assert "conv: 5.56%" in figure.layout.annotations[0].text
    assert figure.layout.yaxis.autorange == "reversed"


def test_every_layer_has_its_map_whatever_its_shape() -> None:
    shapes = {"linear": (3, 500), "conv": (6, 1, 5, 5), "vector": (7,), "conv1d": (4, 5, 3), "tiny": (1, 1)}
    masks = {name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()}
    figure = density_maps(masks)
    values = {value for row in figure.data[0].z for value in row}
    assert values == {1.0, None}
    assert len(figure.layout.annotations) == len(masks)
    many = density_maps({f"layer{i}": torch.ones(64, 64, dtype=torch.bool) for i in range(100)})
    assert len(plain(many)) < 700_000
    plain(density_maps({}))


def test_histograms_count_each_part_by_itself_and_skip_what_is_no_number() -> None:
    figure = histograms(torch.tensor([1.0, -1.0, math.nan, math.inf]), torch.tensor([0.5]), title="x")
    assert [trace.name for trace in figure.data] == ["active", "inactive"]
    assert [sum(trace.y) for trace in figure.data] == pytest.approx([1.0, 1.0])
    plain(figure)
    assert [trace.name for trace in histograms(torch.zeros(3), torch.empty(0), title="x").data] == ["active"]


def test_a_spectrum_holds_all_shares() -> None:
    values = torch.tensor([-1.0, 0.0, 0.0, 9.0], dtype=torch.float64)
    figure = spectrum(values)
    assert sum(figure.data[0].y) == pytest.approx(1.0)
    assert max(figure.data[0].y) == pytest.approx(0.5)
    assert sum(spectrum(values, torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)).data[0].y) == pytest.approx(1)
    plain(spectrum(torch.tensor([2.0])))


def test_names_are_text_not_html_or_tex() -> None:
    for figure in (flow_heatmap([NASTY], [0], [[1.0]]), density_maps({NASTY: torch.ones(2, 2, dtype=torch.bool)})):
        text = plain(figure)
        assert "<b>" not in text
        assert "$" not in text
        assert "&lt;b&gt;net" in text
    assert "<" not in histograms(torch.ones(1), torch.ones(1), title=NASTY).layout.title.text


@settings(max_examples=30)
@given(st.text(max_size=20))
def test_escaped_text_has_nothing_that_plotly_interprets(text: str) -> None:
    assert html.unescape(escaped(text)) == html.unescape(html.escape(text, quote=False))
    assert not set(escaped(text)) & set("<>$")
