"""Wide ResNet, the CIFAR network of RigL's paper."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .initialization import he_normal
from .sizes import check_positive, scaled


class WideResNet(nn.Module):
    """WRN-depth-width, with norms before the convolutions, at 1, 1/2 and 1/4 of the image's resolution.

    (B, in_channels, H, W) -> logits (B, num_classes). The default is WRN-22-2 with 1,079,642 parameters; WRN-28-10 is
    ``WideResNet(28, width=10)``. Convolutions start He-normal over fan_out, the classifier from N(0, 0.01^2).

    Args:
        depth: 6 n + 4 for n blocks a stage: 16, 22, 28, 40, ...
        num_classes: number of logits.
        in_channels: number of image channels.
        width: multiplies the 16, 32 and 64 channels of the stages, rounded down; the first convolution keeps its 16.
        dropout: probability of dropout between the two convolutions of a block, in [0, 1).

    Raises:
        ValueError: there is no such ``depth``, a size is below 1, ``dropout`` is outside [0, 1), or ``width`` leaves
            no channels.

    Reference:
        Zagoruyko & Komodakis 2016, whose networks with dropout take 0.3 on CIFAR, as RigL's released code does by
        default.

    Example:
        >>> import torch
        >>> WideResNet(16, width=0.5)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        depth: int = 22,
        num_classes: int = 10,
        *,
        in_channels: int = 3,
        width: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive(num_classes=num_classes, in_channels=in_channels)
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth is {depth}; it is 6 n + 4 for n blocks a stage: 16, 22, 28, 40, ...")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it lies in [0, 1)")
        channels = [scaled(base, width) for base in (16, 32, 64)]
        blocks = (depth - 4) // 6
        self.conv1 = _conv(in_channels, 16)
        self.layer1 = _stage(16, channels[0], blocks, 1, dropout)
        self.layer2 = _stage(channels[0], channels[1], blocks, 2, dropout)
        self.layer3 = _stage(channels[1], channels[2], blocks, 2, dropout)
        self.bn = nn.BatchNorm2d(channels[2])
        self.fc = nn.Linear(channels[2], num_classes)
        he_normal(self)

    def features(self, image: Tensor) -> Tensor:
        """Return maps of the last stage, after norm and ReLU (B, C, H / 4, W / 4); sides round up."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(image))))
        return F.relu(self.bn(x))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(image).mean((2, 3)))
        return logits


class PreActivationBlock(nn.Module):
    """Norm, ReLU and 3x3 convolution, twice, added to the input.

    Where the shape changes, the shortcut is a 1x1 convolution of the activated input; elsewhere it is the raw input.
    """

    def __init__(self, source: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(source)
        self.conv1 = _conv(source, channels, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = _conv(channels, channels)
        same = stride == 1 and source == channels
        self.shortcut = None if same else nn.Conv2d(source, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        change: Tensor = self.conv2(self.dropout(F.relu(self.bn2(self.conv1(active)))))
        return change + shortcut


def _stage(source: int, channels: int, blocks: int, stride: int, dropout: float) -> nn.Sequential:
    first = PreActivationBlock(source, channels, stride, dropout)
    return nn.Sequential(first, *(PreActivationBlock(channels, channels, 1, dropout) for _ in range(blocks - 1)))


def _conv(source: int, target: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(source, target, 3, stride, padding=1, bias=False)
