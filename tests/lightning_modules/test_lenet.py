import pytest
import torch
from torch import nn

from lightning_modules.networks import LeNet5, LeNet300100

# network, kernel weights, biases; Evci et al. 2022 and their released configurations
NETWORKS = [
    (LeNet5(), 44_190, 236),
    (LeNet300100(), 266_200, 410),
    (LeNet5(LeNet5.SMALL_DENSE), 2_336, 63),
    (LeNet300100(LeNet300100.SMALL_DENSE), 784 * 8 + 64 + 80, 26),
]


@pytest.mark.parametrize(("network", "kernels", "biases"), NETWORKS)
def test_counts_and_shapes(network: nn.Module, kernels: int, biases: int) -> None:
    assert sum(p.numel() for p in network.parameters() if p.dim() > 1) == kernels
    assert sum(p.numel() for p in network.parameters() if p.dim() == 1) == biases
    assert network(torch.rand(3, 1, 28, 28)).shape == (3, 10)


def test_layers_of_lenet5() -> None:
    sizes = [p.numel() for p in LeNet5().parameters() if p.dim() > 1]
    assert sizes == [150, 2_400, 30_720, 10_080, 840]
    small = [p.numel() for p in LeNet5(LeNet5.SMALL_DENSE).parameters() if p.dim() > 1]
    assert small == [75, 225, 1_296, 540, 200]


@pytest.mark.parametrize("network", [LeNet5(), LeNet300100()])
def test_kernels_start_glorot_uniform_and_biases_zero(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
            bound = (6 / (fan_in + fan_out)) ** 0.5
            assert 0.9 * bound < layer.weight.abs().max() <= bound
            assert (layer.bias == 0).all()


@pytest.mark.parametrize(("cls", "widths"), [(LeNet5, (6, 16)), (LeNet5, (6, 16, 0, 84)), (LeNet300100, (300,))])
def test_impossible_widths(cls: type[nn.Module], widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="positive numbers"):
        cls(widths)
