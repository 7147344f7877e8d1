"""The ResNets of CIFAR: three stages of 16, 32 and 64 channels."""

from __future__ import annotations

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .initialization import he_normal
from .resnet import BasicBlock, Shortcut, projection
from .sizes import check_positive, scaled


class CIFARResNet(nn.Module):
    """A ResNet classifier with 3x3 convolutions at 1, 1/2 and 1/4 of the image's resolution.

    (B, in_channels, H, W) -> logits (B, num_classes). Convolutions start He-normal over fan_out, the classifier from
    N(0, 0.01^2).

    Args:
        depth: 6 n + 2 for n blocks a stage: 20, 32, 44, 56, 110, ...
        num_classes: number of logits.
        in_channels: number of image channels.
        width: multiplies the channels of every layer, rounded down.
        shortcut: between stages, ``"A"`` drops every other pixel and adds channels of zeros (no parameters), ``"B"`` is
            a 1x1 convolution with batch norm.

    Raises:
        ValueError: there is no such ``depth`` or ``shortcut``, a size is below 1, or ``width`` leaves no channels.

    Reference:
        He et al. 2016, section 4.2, which takes shortcuts A. The zero channels come last.

    Example:
        >>> import torch
        >>> CIFARResNet(20, width=0.25)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        depth: int = 20,
        num_classes: int = 10,
        *,
        in_channels: int = 3,
        width: float = 1.0,
        shortcut: Literal["A", "B"] = "A",
    ) -> None:
        super().__init__()
        check_positive(num_classes=num_classes, in_channels=in_channels)
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth is {depth}; it is 6 n + 2 for n blocks a stage: 20, 32, 44, 56, ...")
        if shortcut not in ("A", "B"):
            raise ValueError(f'shortcut is {shortcut!r}; it is "A" (zero channels) or "B" (a 1x1 convolution)')
        stem, *channels = (scaled(base, width) for base in (16, 16, 32, 64))
        blocks = (depth - 2) // 6
        between_stages = _zero_padding if shortcut == "A" else projection
        self.conv1 = nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = _stage(stem, channels[0], blocks, 1, between_stages)
        self.layer2 = _stage(channels[0], channels[1], blocks, 2, between_stages)
        self.layer3 = _stage(channels[1], channels[2], blocks, 2, between_stages)
        self.fc = nn.Linear(channels[2], num_classes)
        he_normal(self)

    def features(self, image: Tensor) -> Tensor:
        """Return maps of the last stage (B, C, H / 4, W / 4); sides round up."""
        x = F.relu(self.bn1(self.conv1(image)))
        maps: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return maps

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(image).mean((2, 3)))
        return logits


class ResNet20(CIFARResNet):
    """ResNet-20; 269,722 parameters for 10 classes. It takes the arguments of :class:`CIFARResNet` but ``depth``."""

    def __init__(self, num_classes: int = 10, **options: Any) -> None:
        super().__init__(20, num_classes, **options)


class ResNet32(CIFARResNet):
    """ResNet-32; 464,154 parameters for 10 classes. It takes the arguments of :class:`CIFARResNet` but ``depth``."""

    def __init__(self, num_classes: int = 10, **options: Any) -> None:
        super().__init__(32, num_classes, **options)


class ResNet44(CIFARResNet):
    """ResNet-44; 658,586 parameters for 10 classes. It takes the arguments of :class:`CIFARResNet` but ``depth``."""

    def __init__(self, num_classes: int = 10, **options: Any) -> None:
        super().__init__(44, num_classes, **options)


class ResNet56(CIFARResNet):
    """ResNet-56; 853,018 parameters for 10 classes. It takes the arguments of :class:`CIFARResNet` but ``depth``."""

    def __init__(self, num_classes: int = 10, **options: Any) -> None:
        super().__init__(56, num_classes, **options)


class ZeroPaddedShortcut(nn.Module):
    """A shortcut that keeps every ``stride``-th pixel and appends ``extra`` channels of zeros."""

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra = extra
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


def _zero_padding(source: int, channels: int, stride: int) -> nn.Module | None:
    return ZeroPaddedShortcut(channels - source, stride) if stride > 1 else None


def _stage(source: int, channels: int, blocks: int, stride: int, shortcut: Shortcut) -> nn.Sequential:
    first = BasicBlock(source, channels, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1, shortcut) for _ in range(blocks - 1)))
