"""Multiply-adds of layers counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from callbacks.sparsity import multiply_adds


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Linear(5, 3), (2, 5), 2 * 5 * 3),
        (nn.Linear(5, 3, bias=False), (2, 7, 5), 2 * 7 * 5 * 3),
        (nn.Conv1d(2, 4, 3), (1, 2, 10), 8 * 4 * 2 * 3),
        (nn.Conv2d(3, 6, 5, stride=2, padding=2), (2, 3, 8, 8), 2 * 16 * 6 * 3 * 25),
        (nn.Conv2d(4, 6, 3, groups=2), (1, 4, 5, 5), 9 * 6 * 2 * 9),
        (nn.Conv2d(4, 4, 3, dilation=2, groups=4), (1, 4, 5, 5), 1 * 4 * 1 * 9),
        (nn.Conv3d(1, 2, (1, 2, 3)), (1, 1, 2, 3, 4), 2 * 2 * 2 * 2 * 6),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (1, 4, 5, 5), 25 * 4 * 3 * 9),
        (nn.ConvTranspose1d(2, 3, 4), (2, 2, 7), 2 * 7 * 2 * 3 * 4),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_layers(layer: nn.Module, shape: tuple[int, ...], expected: int, device: str) -> None:
    assert multiply_adds(layer.to(device), torch.zeros(shape, device=device)) == {"weight": expected}


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Linear(4, 4)
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.again.weight
        self.never = nn.Linear(4, 2)
        self.last = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        output: Tensor = self.last(self.again(self.again(x)) + self.tied(y))
        return output


def test_calls_and_tied_weights_add_up_and_the_module_stays_as_it_was() -> None:
    torch.manual_seed(0)
    network = Twice()
    network.last[0].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    counts = multiply_adds(network, torch.rand(3, 4), torch.rand(3, 4))
    assert counts == {"again.weight": 3 * 3 * 16, "never.weight": 0, "last.2.weight": 3 * 4}
    assert [module.training for module in network.last] == [False, True, True]
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not torch.equal(torch.get_rng_state(), state), "the inputs drew"
    state = torch.get_rng_state()
    multiply_adds(network, torch.ones(3, 4), torch.ones(3, 4))
    assert torch.equal(torch.get_rng_state(), state)
