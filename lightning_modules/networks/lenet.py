"""LeNet-5 and LeNet-300-100, the MNIST networks of the gradient-flow paper."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class LeNet5(nn.Module):
    """LeNet-5: two 5x5 convolutions and three fully connected layers, 44,190 kernel weights and 236 biases.

    (B, in_channels, 28, 28) -> logits (B, num_classes). Kernels start Glorot-uniform, biases at 0.

    Args:
        widths: channels of the two convolutions and units of the two hidden layers. ``SMALL_DENSE`` has
            about as many weights (2,336) as the default at 95 % sparsity.
        in_channels: number of image channels.
        num_classes: number of logits.

    Raises:
        ValueError: ``widths`` is not four positive numbers.

    Reference:
        Evci et al. 2022, MNIST experiments, and their released code.

    Example:
        >>> sum(p.numel() for p in LeNet5().parameters() if p.dim() > 1)
        44190
    """

    SMALL_DENSE = (3, 3, 27, 20)

    def __init__(
        self, widths: Sequence[int] = (6, 16, 120, 84), *, in_channels: int = 1, num_classes: int = 10
    ) -> None:
        super().__init__()
        conv1, conv2, fc1, fc2 = _checked(widths, 4)
        self.conv1 = nn.Conv2d(in_channels, conv1, 5)
        self.conv2 = nn.Conv2d(conv1, conv2, 5)
        self.fc1 = nn.Linear(conv2 * 4 * 4, fc1)
        self.fc2 = nn.Linear(fc1, fc2)
        self.fc3 = nn.Linear(fc2, num_classes)
        self.apply(_glorot)

    def forward(self, image: Tensor) -> Tensor:
        # ReLU comes after max pooling, where a quarter of the values is left: both commute, to the bit, gradients too
        x = F.relu(F.max_pool2d(self.conv1(image), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        logits: Tensor = self.fc3(x)
        return logits


class LeNet300100(nn.Module):
    """LeNet-300-100, a perceptron with hidden layers of 300 and 100 units and 266,200 kernel weights.

    Images of 784 values in any shape (B, ...) -> logits (B, num_classes). Kernels start Glorot-uniform, biases at 0.

    Args:
        widths: units of the two hidden layers. ``SMALL_DENSE`` has about as many weights as the default at
            98 % sparsity.
        num_classes: number of logits.

    Raises:
        ValueError: ``widths`` is not two positive numbers.

    Reference:
        Evci et al. 2022, released code ("mlp").

    Example:
        >>> sum(p.numel() for p in LeNet300100().parameters() if p.dim() > 1)
        266200
    """

    SMALL_DENSE = (8, 8)

    def __init__(self, widths: Sequence[int] = (300, 100), *, num_classes: int = 10) -> None:
        super().__init__()
        fc1, fc2 = _checked(widths, 2)
        self.fc1 = nn.Linear(28 * 28, fc1)
        self.fc2 = nn.Linear(fc1, fc2)
        self.fc3 = nn.Linear(fc2, num_classes)
        self.apply(_glorot)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.fc1(image.flatten(1)))
        x = F.relu(self.fc2(x))
        logits: Tensor = self.fc3(x)
        return logits


def _checked(widths: Sequence[int], count: int) -> Sequence[int]:
    if len(widths) != count or min(widths) < 1:
        raise ValueError(f"widths is {tuple(widths)}; it takes {count} positive numbers")
    return widths


def _glorot(layer: nn.Module) -> None:
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
