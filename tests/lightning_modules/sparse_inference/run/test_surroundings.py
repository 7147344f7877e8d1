"""Plans, outputs and files are the same whatever surrounds a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_modules.sparse_inference import SparseModel, compile_sparse, load_sparse, save_sparse


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def everything() -> Iterator[None]:
    with ExitStack() as stack:
        for name, surroundings in SURROUNDINGS.items():
            if name != "everything":
                stack.enter_context(surroundings())
        yield


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "default device": lambda: default_device("meta"),
    "device": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "gradients": torch.enable_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "everything": everything,
}


class InKernels(nn.Module):
    """What plans make numbers of their own for: biases, norms and factors that are not there, places of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, bias=False)
        self.norm = nn.BatchNorm2d(32, affine=False)
        self.last = nn.Linear(32, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x))) * 0.5 + 1
        x = F.interpolate(x, scale_factor=2, mode="bilinear") + torch.linspace(0, 1, 32).view(32, 1, 1)
        return self.last(F.max_pool2d(x, 2).mean((2, 3)))


class PartlyInTorch(InKernels):
    """Between kernels a linear layer that has none, as it is one of rows of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Linear(8, 8)
        self.then = nn.Conv2d(32, 3, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.then(self.rows(self.first(x)[..., :8]).softmax(1) + torch.ones(32, 1, 1))
        return x.mean((2, 3))


class AllInTorch(InKernels):
    """Looks at values."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.first(x)) if x.sum() > -1e9 else x


def made(kind: type[InKernels]) -> InKernels:
    torch.manual_seed(0)
    network = kind().eval()
    network.norm.running_mean.normal_()
    network.norm.running_var.uniform_(0.5, 2)
    for parameter in network.parameters():
        parameter.data[torch.rand(parameter.shape) < 0.8] = 0
    return network


def compiled(network: nn.Module, image: Tensor) -> SparseModel:
    return compile_sparse(network, image, calibrate=False)


@pytest.fixture(params=[InKernels, PartlyInTorch])
def network(request: pytest.FixtureRequest) -> InKernels:
    return made(request.param)


@pytest.fixture(params=SURROUNDINGS)
def surroundings(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[object]]:
    torch.set_num_threads(1)
    return SURROUNDINGS[request.param]


def assert_equal(got: Tensor, want: Tensor) -> None:
    assert (got.dtype, got.device) == (torch.float32, torch.device("cpu"))
    assert torch.equal(got, want)


def test_neither_plans_nor_outputs_change(
    network: InKernels, surroundings: Callable[[], AbstractContextManager[object]]
) -> None:
    first, second = torch.randn(2, 3, 10, 12), torch.randn(3, 3, 12, 11)
    plain, fast = compiled(network, first), compiled(network, first)
    wanted, reasons = (plain(first), plain(second)), plain.reasons()
    assert bool(reasons) == isinstance(network, PartlyInTorch)
    with surroundings():
        assert_equal(fast(first), wanted[0])
        assert_equal(fast(second), wanted[1])
        assert fast.reasons() == reasons
        inside = compiled(network, second)
        assert inside.reasons() == reasons
        assert_equal(inside(second), wanted[1])
        assert [layer.layer for layer in inside.report().layers] == [layer.layer for layer in plain.report().layers]
    for model in (inside, fast):
        assert_equal(model(first), wanted[0])
        assert_equal(model(second), wanted[1])


def test_what_runs_in_torch_as_a_whole_does_not_change(
    surroundings: Callable[[], AbstractContextManager[object]],
) -> None:
    network, image = made(AllInTorch), torch.randn(2, 3, 10, 12)
    fast = compiled(network, image)
    assert "depends on a value" in fast.reasons()[0]
    with torch.no_grad():
        want = network(image)
    with surroundings():
        assert_equal(fast(image), want)
        assert_equal(compiled(network, image)(image), want)
        assert_equal(fast(image[:0]), want[:0])


def test_torch_is_left_as_it_was(surroundings: Callable[[], AbstractContextManager[object]]) -> None:
    def state() -> tuple[object, ...]:
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
        return torch.get_default_dtype(), torch.get_default_device(), *modes

    network, image = made(PartlyInTorch), torch.randn(2, 3, 10, 12)
    with surroundings():
        before = state()
        fast = compiled(network, image)
        assert state() == before
        network.train()
        with pytest.raises(ValueError, match="train mode"):
            fast(image[:1])
        assert state() == before


def test_files_are_written_and_read(surroundings: Callable[[], AbstractContextManager[object]], tmp_path: Path) -> None:
    network, other = made(InKernels), made(InKernels)
    for parameter in other.parameters():
        parameter.data.zero_()
    with surroundings():
        save_sparse(network, tmp_path / "file")
        load_sparse(tmp_path / "file", other)
    for name, tensor in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


def test_an_image_of_inference_mode(network: InKernels) -> None:
    torch.set_num_threads(1)
    network.register_forward_pre_hook(lambda _, given: given[0].mul_(2))
    with torch.inference_mode():
        images = [torch.randn(2, 3, 10, 12), torch.randn(3, 3, 12, 11)]
    plain = compiled(network, images[0].clone())
    wanted = [plain(image.clone()) for image in images]
    fast = compiled(network, images[0])
    for image, want in zip(images, wanted, strict=True):
        assert_equal(fast(image), want)
    assert fast.reasons() == plain.reasons()


class Lit(pl.LightningModule):
    def __init__(self, fast: SparseModel) -> None:
        super().__init__()
        self.fast = fast
        self.outputs: list[Tensor] = []

    def validation_step(self, image: Tensor) -> None:
        self.outputs.append(self.fast(image))

    def predict_step(self, image: Tensor) -> Tensor:
        return self.fast(image)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("what", ["validate", "predict"])
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_the_first_call_may_be_the_trainers(network: InKernels, what: str, precision: str) -> None:
    torch.set_num_threads(1)
    image = torch.randn(3, 3, 12, 11)
    plain = compiled(network, image)
    module = Lit(SparseModel(network, plain.vector_width, calibrate=False))
    trainer = pl.Trainer(
        accelerator="cpu", precision=precision, logger=False, enable_progress_bar=False, enable_model_summary=False
    )
    found = getattr(trainer, what)(module, DataLoader(list(image), batch_size=3))
    [output] = module.outputs if what == "validate" else found
    assert_equal(output, plain(image))
    assert module.fast.reasons() == plain.reasons()
