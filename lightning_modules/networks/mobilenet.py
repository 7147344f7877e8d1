"""MobileNet-v1, whose depth-wise and 1x1 convolutions take turns."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .initialization import he_normal
from .sizes import check_positive, scaled

# channels and stride of the 1x1 and the depth-wise convolution of each block
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


class MobileNetV1(nn.Module):
    """MobileNet-v1: a convolution and thirteen depth-wise separable ones, 4,231,976 parameters for 1,000 classes.

    (B, in_channels, H, W) -> logits (B, num_classes). Sparse methods leave the depth-wise kernels dense, as the
    paper does; the paper keeps the first convolution dense too: ``exclude: conv1.weight``. Convolutions start
    He-normal over fan_in, the classifier from N(0, 0.01^2).

    Args:
        num_classes: number of logits.
        in_channels: number of image channels.
        width: multiplies the channels of every layer, rounded down; 1.98 is the paper's big-sparse network.

    Raises:
        ValueError: a size is below 1, or ``width`` leaves no channels.

    Reference:
        Howard et al. 2017, table 1, whose last block has stride 1 in every implementation. RigL's code rounds widths
        to multiples of 8.

    Example:
        >>> import torch
        >>> MobileNetV1(num_classes=10, width=0.25)(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 10])
    """

    def __init__(self, num_classes: int = 1000, *, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        check_positive(num_classes=num_classes, in_channels=in_channels)
        source = scaled(32, width)
        self.conv1 = nn.Conv2d(in_channels, source, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(source)
        blocks = []
        for channels, stride in _BLOCKS:
            blocks.append(DepthwiseSeparable(source, scaled(channels, width), stride))
            source = scaled(channels, width)
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(source, num_classes)
        he_normal(self, "fan_in")  # torch's fan_out does not divide by the groups of a depth-wise convolution

    def features(self, image: Tensor) -> Tensor:
        """Return maps of the last block (B, C, H / 32, W / 32); sides round up."""
        maps: Tensor = self.blocks(F.relu(self.bn1(self.conv1(image))))
        return maps

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(image).mean((2, 3)))
        return logits


class DepthwiseSeparable(nn.Module):
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution; batch norm and ReLU after both."""

    def __init__(self, source: int, target: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(source, source, 3, stride, padding=1, groups=source, bias=False)
        self.bn1 = nn.BatchNorm2d(source)
        self.pointwise = nn.Conv2d(source, target, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(target)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.depthwise(x)))
        return F.relu(self.bn2(self.pointwise(x)))
