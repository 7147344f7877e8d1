"""The random weights that convolutional networks start from."""

from __future__ import annotations

from typing import Literal

from torch import nn


def he_normal(network: nn.Module, fan: Literal["fan_in", "fan_out"] = "fan_out") -> None:
    """Draw convolutions from N(0, 2 / fan) and linear layers from N(0, 0.01^2); biases become 0.

    Norms keep their scale of 1 and shift of 0.

    Reference:
        He et al. 2015, equations 10 and 14; the linear layers as Simonyan & Zisserman 2015 and RigL's released code.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode=fan, nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
