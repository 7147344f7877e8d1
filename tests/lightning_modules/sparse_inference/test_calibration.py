from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.sparse_inference import Report, SparseModel, compile_sparse
from lightning_modules.sparse_inference.kernels.operations import DOT, IN_PLACE_DENSE, PANEL_DENSE
from lightning_modules.sparse_inference.run.program import Program


def network(*densities: float) -> nn.Sequential:
    """Linear layers with exactly these shares of weights, named 0.weight, 1.weight, ..."""
    torch.manual_seed(0)
    layers = [nn.Linear(20, 20) for _ in densities]
    for layer, density in zip(layers, densities, strict=True):
        layer.weight.data.view(-1)[torch.randperm(400)[: round(400 * (1 - density))]] = 0
    return nn.Sequential(*layers).eval()


class Clock:
    """Says that one kind of weights is the faster, and counts how often it is asked."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.fast, self.asked = "sparse", 0
        patch.setattr(Program, "seconds", lambda stage, number, _: self.seconds(stage.operations[number]))

    def seconds(self, operation: dict[str, int]) -> float:
        self.asked += 1
        kind = "dense" if operation["form"] in (PANEL_DENSE, IN_PLACE_DENSE) else "sparse"
        return 1.0 if kind == self.fast else 2.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def image() -> Tensor:
    torch.set_num_threads(1)
    return torch.randn(1, 20)


def chosen(model: SparseModel) -> dict[str, bool]:
    [dense] = model.chosen.values()
    return dict(dense)


def test_layers_that_are_clearly_sparse_or_dense_are_not_measured(clock: Clock, image: Tensor) -> None:
    model = compile_sparse(network(0.0, 0.2, 0.85, 1.0), image)
    assert clock.asked == 0
    assert chosen(model) == {"0.weight": False, "1.weight": False, "2.weight": True, "3.weight": True}


@pytest.mark.parametrize("fast", ["sparse", "dense"])
def test_the_faster_is_chosen_between(clock: Clock, image: Tensor, fast: str) -> None:
    clock.fast = fast
    model = compile_sparse(network(0.3, 0.1, 0.75), image)
    assert chosen(model) == {"0.weight": fast == "dense", "1.weight": False, "2.weight": fast == "dense"}
    [plan] = model.plans()
    forms = [op["form"] == IN_PLACE_DENSE for op in plan.programs[0].operations if op["kind"] == DOT]  # type: ignore
    assert forms == list(chosen(model).values())


def test_without_calibration_the_density_decides(clock: Clock, image: Tensor) -> None:
    model = compile_sparse(network(0.4, 0.5), image, calibrate=False)
    assert clock.asked == 0
    assert chosen(model) == {"0.weight": False, "1.weight": True}


def test_what_is_given_is_not_measured(clock: Clock, image: Tensor) -> None:
    model = SparseModel(network(0.3, 0.75), 4, dense={"0.weight": True, "1.weight": False})
    model(image)
    assert clock.asked == 0
    assert chosen(model) == {"0.weight": True, "1.weight": False}


def test_a_choice_outlasts_its_plan_and_goes_with_copies(clock: Clock, image: Tensor) -> None:
    model = compile_sparse(network(0.5), image)
    for batch in range(2, 12):
        model(torch.randn(batch, 20))
    clock.fast, clock.asked = "dense", 0
    copied = copy.deepcopy(model)
    assert torch.equal(model(image), copied(image))
    assert clock.asked == 0
    assert not any(dense["0.weight"] for dense in model.chosen.values())


def test_both_ways_give_the_same_outputs_on_a_real_clock(image: Tensor) -> None:
    module = network(0.5, 0.5)
    model = compile_sparse(module, image)
    assert set(chosen(model)) == {"0.weight", "1.weight"}
    assert (model(image) - module(image)).abs().max() < 1e-5


def test_the_report_has_a_row_a_layer(image: Tensor) -> None:
    module = nn.Sequential(
        nn.Unflatten(1, (1, 4, 5)), nn.Conv2d(1, 8, 3), nn.Softmax(1), nn.Flatten(), nn.Linear(48, 2)
    )
    module[1].weight.data[1:] = 0
    model = compile_sparse(module.eval(), image)
    report = model.report()
    assert [layer.layer for layer in report.layers] == ["1.weight", "4.weight"]
    assert [layer.shape for layer in report.layers] == [(8, 1, 3, 3), (2, 48)]
    assert [layer.sparsity for layer in report.layers] == [0.875, 0.0]
    assert [layer.chosen for layer in report.layers] == ["sparse", "dense"]
    assert all(0 < ms < 1000 for layer in report.layers for ms in (layer.ms_dense, layer.ms_sparse))
    assert report.fallbacks == tuple(model.reasons())
    first, names, conv, linear, *rest = str(report).splitlines()
    assert first == "input 1 x 20, 1 thread"
    assert names.split("  ")[0] == "layer"
    assert conv.split()[:8] == ["1.weight", "8", "x", "1", "x", "3", "x", "3"]
    assert linear.endswith("dense")
    assert [line.partition(": ")[0] for line in rest] == ["in torch"] * len(report.fallbacks)
    assert any("softmax" in line and "no kernel" in line for line in rest)


def test_the_report_of_what_cannot_be_traced(image: Tensor) -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1 if x.sum() > 0 else x

    report = compile_sparse(Branching().eval(), image).report()
    assert report == Report((1, 20), 1, (), tuple(report.fallbacks))
    assert "test_calibration.py" in str(report).splitlines()[1]


def test_there_is_no_report_before_the_first_call() -> None:
    with pytest.raises(RuntimeError, match="before it is called"):
        SparseModel(network(0.5), 4).report()
