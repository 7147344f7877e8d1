"""Every path through the kernels against torch."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.sparse_inference import SparseModel
from lightning_modules.sparse_inference.compiler import convolution_weights
from lightning_modules.sparse_inference.kernels.operations import CONVOLUTION
from lightning_modules.sparse_inference.run.program import Program

WIDTHS = st.sampled_from([4, 8, 16])  # whatever this machine has


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def difference(module: nn.Module, image: Tensor, lanes: int, threads: int = 1, dense: bool | None = None) -> float:
    """From torch, relative to the largest output; the whole module runs in the kernels."""
    torch.set_num_threads(threads)
    module.eval()
    forced = {} if dense is None else {name: dense for name, _ in module.named_parameters()}
    model = SparseModel(module, lanes, calibrate=False, dense=forced)
    with torch.no_grad():
        want = module(image)
    first, got = model(image), model(image)  # the second in a workspace that was used
    [plan] = model.plans()
    assert not isinstance(plan, str)
    assert plan.reasons == []
    assert all(isinstance(step, Program) for step in plan.steps)
    assert got.shape == want.shape
    assert torch.equal(first, got)
    return float((got - want).abs().max() / want.abs().max().clamp(min=1e-6))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[dict[str, object], tuple[int, ...], float]:
    groups = draw(st.sampled_from([1, 1, 2, 5]))
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (5, 2)]))
    same = draw(st.booleans())
    options = {
        "in_channels": groups * draw(st.integers(1, 6)),
        "out_channels": groups * draw(st.integers(1, 9)),
        "kernel_size": kernel,
        "padding": (kernel[0] // 2, kernel[1] // 2) if same else draw(st.sampled_from([0, (1, 2), 3])),
        "stride": 1 if same else draw(st.sampled_from([1, 2, 3, (2, 1)])),
        "dilation": 1 if same else draw(st.sampled_from([1, (2, 1)])),
        "groups": groups,
    }
    shape = (
        draw(st.sampled_from([1, 1, 3])),
        options["in_channels"],
        draw(st.integers(9, 20)),
        draw(st.integers(4, 40)),
    )
    return options, shape, draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))


@hypothesis.settings(max_examples=50, phases=[hypothesis.Phase.generate])
@hypothesis.given(convolutions(), WIDTHS, st.sampled_from([None, True, False]), st.sampled_from([1, 2]))
def test_convolutions(
    drawn: tuple[dict[str, object], tuple[int, ...], float], lanes: int, dense: bool | None, threads: int
) -> None:
    options, shape, sparsity = drawn
    torch.manual_seed(0)
    layer = nn.Conv2d(**options)  # type: ignore[arg-type]
    layer.weight.data[torch.rand(layer.weight.shape) < sparsity] = 0
    assert difference(layer, torch.randn(shape), lanes, threads, dense) < 1e-4


@hypothesis.settings(max_examples=30, phases=[hypothesis.Phase.generate])
@hypothesis.given(
    st.integers(1, 90), st.integers(1, 40), st.sampled_from([1, 2, 70]), st.booleans(), st.floats(0, 1), WIDTHS
)
def test_linear_layers(inputs: int, outputs: int, batch: int, dense: bool, sparsity: float, lanes: int) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(inputs, outputs)
    layer.weight.data[torch.rand(layer.weight.shape) < sparsity] = 0
    assert difference(layer, torch.randn(batch, inputs), lanes, dense=dense) < 1e-4


@pytest.mark.parametrize("batch", [1, 37])
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_two_threads_share_a_linear_layer(batch: int, lanes: int) -> None:
    layer = nn.Linear(531, 203)
    layer.weight.data[torch.rand(layer.weight.shape, generator=torch.manual_seed(0)) < 0.9] = 0
    layer.weight.data[40:60] = 0
    assert difference(nn.Sequential(layer, nn.ReLU()), torch.randn(batch, 531), lanes, 2) < 1e-4


MAPS: list[Callable[[Tensor], Tensor]] = [
    lambda x: F.max_pool2d(x, 3, 2, 1),
    lambda x: F.max_pool2d(x, 2),
    lambda x: F.max_pool2d(x, (2, 3), (1, 3), ceil_mode=True),
    lambda x: F.avg_pool2d(x, 3, 2, 1),
    lambda x: F.adaptive_avg_pool2d(x, 1),
    lambda x: x.mean((2, 3)),
    lambda x: x.flatten(1),
    lambda x: F.relu(x) + x * 2,
    lambda x: (x + 1).relu_() * torch.tensor([0.5, 2.0, -1.0]).view(3, 1, 1),
    lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    lambda x: F.interpolate(x, (7, 31), mode="bilinear", align_corners=True),
    lambda x: F.interpolate(x, scale_factor=3, mode="nearest"),
    lambda x: torch.cat([x, x[:, 1:], x.chunk(3, 1)[2]], 1),
    lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2)),
    lambda x: F.batch_norm(x, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 1.0, 2.0])),
]


@pytest.mark.parametrize("number", range(len(MAPS)))
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_what_is_done_to_maps(number: int, lanes: int) -> None:
    torch.manual_seed(number)
    for batch in (1, 4):
        assert difference(Function(MAPS[number]), torch.randn(batch, 3, 12, 19), lanes) < 1e-5


class Block(nn.Module):
    """Convolutions on maps of one size, with a sum whose second term is ``kept`` for later, or is the ``same`` map."""

    def __init__(self, channels: int, kernel: int, sparsity: float, kept: bool, same: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Conv2d(channels, channels, k, padding=k // 2) for k in (1, 1, kernel, 1))
        for layer in self.layers:
            layer.weight.data[torch.rand(layer.weight.shape) < sparsity] = 0
        self.kept, self.same = kept, same

    def forward(self, x: Tensor) -> Tensor:
        first, second, third, fourth = self.layers
        x = first(x)
        total = F.relu(third(x if self.same else F.relu(second(x))) + x)
        return fourth(total + x if self.kept else total)


@hypothesis.settings(max_examples=30, phases=[hypothesis.Phase.generate])
@hypothesis.given(
    st.builds(
        Block, st.integers(1, 20), st.sampled_from([1, 3]), st.sampled_from([0.3, 0.9]), st.booleans(), st.booleans()
    ),
    st.sampled_from([(1, 9), (3, 30)]),
    WIDTHS,
    st.sampled_from([None, True]),
    st.sampled_from([1, 2]),
    st.sampled_from([5, 256]),
)
def test_sums_in_place_and_chains_of_convolutions(
    block: Block, size: tuple[int, int], lanes: int, dense: bool | None, threads: int, sources: int
) -> None:
    batch, width = size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution_weights, "IN_PLACE_CHANNELS", sources)  # in a block
        image = torch.randn(batch, block.layers[0].in_channels, 20, width)
        assert difference(block, image, lanes, threads, dense) < 1e-4


@pytest.mark.parametrize(("kept", "same"), [(False, False), (True, False), (False, True)])
def test_a_sum_takes_the_place_of_a_map_that_nobody_else_reads(kept: bool, same: bool) -> None:
    torch.set_num_threads(1)
    model = SparseModel(Block(6, 1, 0.9, kept, same).eval(), 4)
    model(torch.randn(1, 6, 8, 8))
    [plan] = model.plans()
    operations = plan.programs[0].operations  # type: ignore[union-attr]
    [summed] = [op for op in operations if op["kind"] == CONVOLUTION and op["other"] >= 0]
    assert (summed["other"] == summed["target"]) == (not kept and not same)
    assert operations["chained"].sum() == (3 if not kept else 2) - same


def test_zero_margins_stay_zero_between_layers_that_share_buffers() -> None:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 1, 1)) for _ in range(4)]
    assert difference(nn.Sequential(*layers), torch.randn(3, 4, 9, 9), 16, 2) < 1e-4


def test_nan_in_weights_and_images_comes_out_where_torch_has_it() -> None:
    layer = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)).eval()
    layer[0].weight.data[0, 0, 1, 1] = torch.nan
    image = torch.randn(1, 1, 8, 8)
    image[0, 0, 4, 4] = torch.nan
    with torch.no_grad():
        assert torch.equal(SparseModel(layer, 4)(image).isnan(), layer(image).isnan())
