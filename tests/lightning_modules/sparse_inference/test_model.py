from __future__ import annotations

import copy
import multiprocessing
import pickle
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.networks import (
    VGG16BN,
    CIFARResNet,
    Kinematics,
    LeNet5,
    LeNet300100,
    MobileNetV1,
    RePose,
    ResNet,
    SimpleBaseline,
    WideResNet,
)
from lightning_modules.sparse_inference import SparseModel, compile_sparse, plan

NETWORKS: list[tuple[nn.Module, tuple[int, ...]]] = [
    (LeNet5(), (1, 28, 28)),
    (LeNet300100(), (1, 28, 28)),
    (VGG16BN(10, width=0.125), (3, 32, 32)),
    (ResNet(18, 10, width=0.125), (3, 64, 48)),
    (ResNet(50, 10, width=0.125), (3, 64, 64)),
    (CIFARResNet(20, shortcut="A"), (3, 32, 32)),
    (CIFARResNet(20, shortcut="B"), (3, 32, 32)),
    (WideResNet(16, dropout=0.3), (3, 32, 32)),
    (MobileNetV1(10, width=0.25), (3, 64, 64)),
    (
        RePose(Kinematics(4, [(0, 1), (1, 2), (1, 3)], 1, alpha=0.5), width=16, channels=8, hidden=8, stem=8),
        (3, 64, 32),
    ),
]


def made_sparse(network: nn.Module, sparsity: float = 0.8) -> nn.Module:
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.data[torch.rand(parameter.shape) < sparsity] = 0
    return network.eval()


def tensors(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)


@torch.no_grad()
def assert_same(network: nn.Module, fast: nn.Module, image: Tensor) -> None:
    for got, want in zip(tensors(fast(image)), tensors(network(image)), strict=True):
        assert got.shape == want.shape
        assert (got - want).norm() < 1e-5 * want.norm()


@pytest.mark.parametrize("number", range(len(NETWORKS)))
def test_every_network_gives_its_outputs(number: int) -> None:
    network, shape = NETWORKS[number]
    network = made_sparse(network)
    fast = compile_sparse(network, torch.randn(1, *shape))
    assert fast.reasons() == []
    assert_same(network, fast, torch.randn(1, *shape))
    torch.set_num_threads(2)
    assert_same(network, fast, torch.randn(3, *shape))


def test_shapes_may_change_and_need_not_be_contiguous() -> None:
    network = made_sparse(ResNet(18, 10, width=0.125, cifar_stem=True))
    fast = compile_sparse(network, torch.randn(2, 3, 32, 32))
    for shape in [(1, 3, 32, 32), (7, 3, 40, 24), (2, 3, 32, 32)]:
        assert_same(network, fast, torch.randn(shape))
    assert_same(network, fast, torch.randn(2, 3, 24, 40).transpose(2, 3))
    assert_same(network, fast, torch.randn(4, 3, 40, 24)[::2])
    assert fast(torch.randn(0, 3, 32, 32)).shape == (0, 10)
    with pytest.raises(RuntimeError, match="channels"):
        fast(torch.randn(1, 4, 32, 32))


def test_what_has_no_kernel_runs_in_torch_and_is_named() -> None:
    network = made_sparse(SimpleBaseline(3, width=0.125, channels=8))
    fast = compile_sparse(network, torch.randn(1, 3, 64, 64))
    names = [f"deconv_layers.{n}.weight" for n in (0, 3, 6)]
    assert fast.reasons() == [f"{name}, aten.convolution.default: transposed is True" for name in names]
    assert_same(network, fast, torch.randn(2, 3, 64, 64))


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x - 1


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += x.mean(0)
        return x * 1


class ViewChanged(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        y.view(-1).relu_()
        return y + 1


class Chosen(nn.Module):
    def __init__(self, chosen: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.chosen = chosen

    def forward(self, x: Tensor) -> Tensor:
        return x[self.chosen(x)] * 2


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Branching(), "depends on a value.*test_model.py:"),
        (Noisy(), "draws random numbers.*test_model.py:"),
        (Counting(), "changes what is kept.*test_model.py:"),
        (ViewChanged(), "view of it was changed.*test_model.py:"),
        (Chosen(lambda x: x.sum(1) > 0), "shape depends on the image's values.*test_model.py:"),
        (Chosen(lambda x: x.sum(1).nonzero()[:, 0]), "shape depends on the image's values.*test_model.py:"),
    ],
)
def test_what_cannot_be_traced_runs_in_torch_and_is_named(module: nn.Module, reason: str) -> None:
    fast = compile_sparse(module.eval(), torch.ones(2, 3))
    [found] = fast.reasons()
    assert re.search(reason, found)
    image = torch.tensor([[1.0, -5.0, 2.0]])
    if not isinstance(module, Noisy):
        assert torch.equal(fast(image), module(image))


@pytest.mark.parametrize("chosen", [lambda x: x.sum(1).argsort(), lambda x: torch.arange(len(x)) < 1])
def test_as_many_places_as_always_can_be_traced(chosen: Callable[[Tensor], Tensor]) -> None:
    fast = compile_sparse(Chosen(chosen).eval(), torch.ones(2, 3))
    assert "aten.index.Tensor: there is no kernel for it" in fast.reasons()
    image = torch.tensor([[2.0, 3.0, 4.0], [1.0, 2.0, 3.0]])
    assert torch.equal(fast(image), image[chosen(image)] * 2)


def test_bad_input_is_refused() -> None:
    network = made_sparse(LeNet5())
    fast = compile_sparse(network, torch.randn(1, 1, 28, 28))
    for dtype in (torch.float64, torch.float16, torch.int64):
        with pytest.raises(TypeError, match=f"{dtype}.*float32"):
            fast(torch.zeros(1, 1, 28, 28, dtype=dtype))
    with pytest.raises(TypeError, match="list"):
        fast([1.0])
    with pytest.raises(ValueError, match="meta.*CPU"):
        fast(torch.zeros(1, 1, 28, 28, device="meta"))
    with pytest.raises(ValueError, match="cannot be trained"):
        fast.train()
    network.conv1.train()
    with pytest.raises(ValueError, match=r"'conv1' of the module is in train mode: call module.eval\(\)"):
        compile_sparse(network, torch.randn(1, 1, 28, 28))
    with pytest.raises(ValueError, match="'conv1.weight' is torch.float16"):
        compile_sparse(LeNet5().half().eval(), torch.randn(1, 1, 28, 28))
    with pytest.raises(ValueError, match="'conv1.weight' is .* on meta: call"):
        compile_sparse(LeNet5().to("meta").eval(), torch.randn(1, 1, 28, 28))
    with pytest.raises(ValueError, match="vector_width is 5"):
        compile_sparse(LeNet5().eval(), torch.randn(1, 1, 28, 28), vector_width=5)


def test_a_layer_and_a_unit_without_weights() -> None:
    network = made_sparse(LeNet5())
    network.conv2.weight.data.zero_()
    network.conv2.bias.data.uniform_(-1, 1)
    network.fc1.weight.data[3] = 0
    assert_same(network, compile_sparse(network, torch.randn(1, 1, 28, 28)), torch.randn(3, 1, 28, 28))


def test_threads_may_call_it_at_once() -> None:
    torch.set_num_threads(2)
    network = made_sparse(ResNet(18, 10, width=0.125))
    fast = compile_sparse(network, torch.randn(1, 3, 32, 32))
    images = [torch.randn(1 + n % 2, 3, 32, 32) for n in range(6)]
    with torch.no_grad():
        wanted = [network(image) for image in images]
    wrong: list[int] = []

    def work(first: int) -> None:
        for n in range(first, 6, 3):
            results = [fast(images[n]) for _ in range(2)]
            wrong.extend(n for result in results if not torch.allclose(result, wanted[n], rtol=1e-3, atol=1e-5))

    threads = [threading.Thread(target=work, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_process_forked_after_the_first_call_may_call_it() -> None:
    torch.set_num_threads(2)
    network = made_sparse(LeNet5())
    image = torch.randn(1, 1, 28, 28)
    fast = compile_sparse(network, image)
    want = fast(image)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=lambda: queue.put(fast(image).tolist()))
    process.start()
    assert torch.equal(torch.tensor(queue.get()), want)
    process.join()
    assert process.exitcode == 0


def test_copies_and_pickles_work_and_have_plans_of_their_own() -> None:
    network = made_sparse(LeNet5())
    image = torch.randn(1, 1, 28, 28)
    fast = compile_sparse(network, image)
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert torch.equal(other(image), fast(image))
        assert other.plans()[0] is not fast.plans()[0]
    assert fast.state_dict().keys() == {f"module.{name}" for name in network.state_dict()}


def test_the_width_of_vectors_may_be_given_by_its_earlier_name() -> None:
    network, image = made_sparse(LeNet5()), torch.randn(1, 1, 28, 28)
    with pytest.warns(DeprecationWarning, match="lanes is deprecated.*use vector_width"):
        fast = compile_sparse(network, image, lanes=8)
    with pytest.warns(DeprecationWarning, match="use vector_width"):
        other = SparseModel(network, lanes=4)
    assert (fast.vector_width, other.vector_width) == (8, 4)
    with pytest.warns(DeprecationWarning, match="use vector_width"):
        assert fast.lanes == 8
    state = fast.__getstate__()
    other.__setstate__({**state, "lanes": state.pop("vector_width")})
    assert other.vector_width == 8


def test_little_work_is_done_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    monkeypatch.setattr(plan, "SHARED_FROM", 400)
    linear = nn.Linear(40, 20).eval()
    linear.weight.data[:, 4:] = 0
    for batch, threads in (4, 1), (5, 2):  # 320 and 400 multiplications
        [made] = compile_sparse(linear, torch.randn(batch, 40)).plans()
        assert made.threads == threads
