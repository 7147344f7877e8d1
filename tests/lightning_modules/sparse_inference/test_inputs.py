"""What a SparseModel is given: images that no kernel can read, and modules that change afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lightning_modules.sparse_inference import SparseModel, compile_sparse
from lightning_modules.sparse_inference.compiler.program_builder import ProgramBuilder


def made(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(*layers)
    for parameter in network.parameters():
        parameter.data.normal_()
    return network.eval()


@torch.no_grad()
def assert_same(fast: SparseModel, image: Tensor) -> None:
    want = fast.module(image)
    assert (fast(image) - want).norm() < 1e-5 * want.norm()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_what_no_kernel_can_read_is_refused() -> None:
    fast = compile_sparse(made(nn.Flatten(), nn.Linear(12, 5)), torch.randn(2, 3, 2, 2))
    images = torch.randn(2, 3, 2, 2)
    for kind in (images.to_sparse(), images.to_mkldnn()):
        with pytest.raises(ValueError, match=r"torch\._?(sparse|mkldnn).*use \.to_dense\(\)"):
            fast(kind)
    with pytest.raises(TypeError, match="nested tensor.*once a size"):
        fast(torch.nested.nested_tensor(list(images)))
    for shape in [(2, 3, 2, 2), (3, 3, 2, 2)]:
        with pytest.raises(ValueError, match="no memory of its own.*on the batch itself"):
            torch.func.vmap(fast)(torch.randn(2, *shape))
        gone = torch.randn(shape)
        gone.untyped_storage().resize_(0)
        with pytest.raises(ValueError, match="no memory of its own"):
            fast(gone)
        assert_same(fast, torch.randn(shape))
        assert fast.reasons() == []
    with FakeTensorMode(), pytest.raises(TypeError, match="torch made a FakeTensor.*outside of modes"):
        fast(images)
    assert_same(fast, images)


class Subclass(Tensor):
    pass


def test_a_subclass_of_tensors_goes_to_the_module() -> None:
    network = made(nn.Flatten(), nn.Linear(12, 5))
    fast = compile_sparse(network, torch.randn(2, 3, 2, 2))
    for batch in (2, 3):
        image = torch.randn(batch, 3, 2, 2)
        with torch.no_grad():
            want = network(image)
        got = fast(image.as_subclass(Subclass))
        assert type(got) is Subclass
        assert torch.equal(got.as_subclass(Tensor), want)
        assert torch.equal(fast(nn.Parameter(image)), fast(image))
        assert fast.reasons() == []


def test_the_image_stays_as_it_is() -> None:
    class Changing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.add_(1) * 2

    fast = compile_sparse(Changing().eval(), torch.zeros(1, 3))
    image = torch.zeros(2, 3)
    assert torch.equal(fast(image), torch.full((2, 3), 2.0))
    assert torch.equal(image, torch.zeros(2, 3))


def replaced(network: nn.Module) -> None:
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(parameter.detach() + 1))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (nn.Module.half, "weight' is torch.float16 on cpu: call"),
        (lambda network: network.to("meta"), "weight' is torch.float32 on meta: call"),
        (nn.Module.train, r"train mode: call module.eval\(\)"),
        (lambda network: [parameter.data.mul_(2) for parameter in network.parameters()], ""),
        (replaced, ""),
    ],
)
def test_a_plan_outlasts_its_module(change: Callable[[nn.Module], Any], error: str) -> None:
    """Also what runs in torch keeps its weights, and what a kernel would read as they are."""
    layers = [nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 4, 2), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2)]
    network = made(*layers)
    image, other = torch.randn(2, 3, 8, 8), torch.randn(1, 3, 8, 8)
    fast = compile_sparse(network, image, calibrate=False)
    want, statistics = fast(image), layers[3].running_mean.clone()
    change(network)
    assert torch.equal(fast(image), want)
    if error:
        with pytest.raises(ValueError, match=error):
            fast(other)
        with pytest.raises(ValueError, match=error):
            fast.report()
    else:
        assert_same(fast, other)
    if layers[3].running_mean.is_cpu:
        assert torch.equal(layers[3].running_mean.float(), statistics.to(layers[3].running_mean.dtype).float())


def test_a_constant_of_another_size_is_refused() -> None:
    with pytest.raises(TypeError, match="float64; kernels read float32"):
        ProgramBuilder(1).address(np.zeros(3))
    assert ProgramBuilder(1).address(np.zeros(3, np.float32)) > 0
