"""The ResNets of ImageNet, with torchvision's parameter names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from .initialization import he_normal
from .sizes import check_positive, scaled

# (source channels, target channels, stride) -> the layers of a block's shortcut, None for the input itself
Shortcut = Callable[[int, int, int], nn.Module | None]


class ResNetTrunk(nn.Module):
    """A ResNet without its classifier, from images to the maps of the last stage.

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: number of image channels.
        width: multiplies the channels of every layer, rounded down.
        cifar_stem: whether a 3x3 convolution of stride 1 replaces the 7x7 one of stride 2 and the max pooling.

    Raises:
        ValueError: there is no such ``depth``, ``in_channels`` is below 1, or ``width`` leaves no channels.

    Example:
        >>> import torch
        >>> trunk = ResNetTrunk(18, width=0.125)
        >>> trunk.features(torch.zeros(1, 3, 64, 96)).shape, trunk.feature_channels
        (torch.Size([1, 64, 2, 3]), 64)
    """

    def __init__(self, depth: int = 50, *, in_channels: int = 3, width: float = 1.0, cifar_stem: bool = False) -> None:
        super().__init__()
        check_positive(in_channels=in_channels)
        if depth not in _DEPTHS:
            raise ValueError(
                f"depth is {depth}; it is one of {tuple(_DEPTHS)} (ResNet20 and CIFARResNet are for CIFAR)"
            )
        block, blocks = _DEPTHS[depth]
        channels = [scaled(base, width) for base in (64, 128, 256, 512)]
        self.cifar_stem = cifar_stem
        self.conv1 = _conv(in_channels, channels[0], 3) if cifar_stem else _conv(in_channels, channels[0], 7, 2)
        self.bn1 = nn.BatchNorm2d(channels[0])
        outputs = [block.EXPANSION * width for width in channels]
        self.layer1 = _stage(block, channels[0], channels[0], blocks[0], stride=1)
        self.layer2 = _stage(block, outputs[0], channels[1], blocks[1], stride=2)
        self.layer3 = _stage(block, outputs[1], channels[2], blocks[2], stride=2)
        self.layer4 = _stage(block, outputs[2], channels[3], blocks[3], stride=2)
        self.feature_channels = outputs[3]

    def features(self, image: Tensor) -> Tensor:
        """Return maps (B, feature_channels, H / 32, W / 32), or H / 8 and W / 8 with the CIFAR stem; sides round up."""
        x = F.relu(self.bn1(self.conv1(image)))
        if not self.cifar_stem:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return maps


class ResNet(ResNetTrunk):
    """A ResNet classifier, (B, in_channels, H, W) -> logits (B, num_classes); by default that of ImageNet.

    Parameters have torchvision's names, so that its checkpoints load. Convolutions start He-normal over fan_out, the
    classifier from N(0, 0.01^2).

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_classes: number of logits.
        in_channels: number of image channels.
        width: multiplies the channels of every layer, rounded down; 0.465 is the paper's small-dense network for
            80 % sparsity.
        cifar_stem: whether a 3x3 convolution of stride 1 replaces the 7x7 one of stride 2 and the max pooling.
        zero_init_residual: whether the scale of the last norm of each block starts at 0, so that a block starts as its
            shortcut. RigL trains so. The gradients of the block's convolutions are then 0 at first, which leaves
            criteria that prune before training (SNIP, GraSP) blind.

    Raises:
        ValueError: there is no such ``depth``, a size is below 1, or ``width`` leaves no channels.

    Reference:
        He et al. 2016. As in RigL and torchvision the stride of a bottleneck is in its 3x3 convolution ("v1.5").

    Example:
        >>> import torch
        >>> ResNet(18, num_classes=10, width=0.125, cifar_stem=True)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        depth: int = 50,
        num_classes: int = 1000,
        *,
        in_channels: int = 3,
        width: float = 1.0,
        cifar_stem: bool = False,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__(depth, in_channels=in_channels, width=width, cifar_stem=cifar_stem)
        check_positive(num_classes=num_classes)
        self.fc = nn.Linear(self.feature_channels, num_classes)
        he_normal(self)
        if zero_init_residual:
            for block in self.modules():
                if isinstance(block, (BasicBlock, Bottleneck)):
                    nn.init.zeros_(block.last_norm.weight)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(image).mean((2, 3)))
        return logits


class ResNet18(ResNet):
    """ResNet-18; 11,689,512 parameters for 1,000 classes.

    It takes the arguments of :class:`ResNet` but ``depth``.
    """

    def __init__(self, num_classes: int = 1000, **options: Any) -> None:
        super().__init__(18, num_classes, **options)


class ResNet34(ResNet):
    """ResNet-34; 21,797,672 parameters for 1,000 classes.

    It takes the arguments of :class:`ResNet` but ``depth``.
    """

    def __init__(self, num_classes: int = 1000, **options: Any) -> None:
        super().__init__(34, num_classes, **options)


class ResNet50(ResNet):
    """ResNet-50; 25,557,032 parameters for 1,000 classes, 25,502,912 of them kernel weights.

    It takes the arguments of :class:`ResNet` but ``depth``.
    """

    def __init__(self, num_classes: int = 1000, **options: Any) -> None:
        super().__init__(50, num_classes, **options)


def projection(source: int, target: int, stride: int) -> nn.Module | None:
    """Return the layers that bring a shortcut to the shape of the block's output, or None if it has that shape."""
    if stride == 1 and source == target:
        return None
    return nn.Sequential(_conv(source, target, 1, stride), nn.BatchNorm2d(target))


def _conv(source: int, target: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(source, target, kernel, stride, padding=kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to their input or to what ``shortcut`` makes of it."""

    EXPANSION: ClassVar[int] = 1

    def __init__(self, source: int, channels: int, stride: int, shortcut: Shortcut = projection) -> None:
        super().__init__()
        self.conv1 = _conv(source, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = shortcut(source, channels, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """Return the norm that ends the branch beside the shortcut."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norm, added to their input; four times as many channels out."""

    EXPANSION: ClassVar[int] = 4

    def __init__(self, source: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(source, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = _conv(channels, channels * self.EXPANSION, 1)
        self.bn3 = nn.BatchNorm2d(channels * self.EXPANSION)
        self.downsample = projection(source, channels * self.EXPANSION, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """Return the norm that ends the branch beside the shortcut."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


_Block = type[BasicBlock] | type[Bottleneck]

_DEPTHS: dict[int, tuple[_Block, tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def _stage(block: _Block, source: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = block(source, channels, stride)
    return nn.Sequential(first, *(block(channels * block.EXPANSION, channels, 1) for _ in range(blocks - 1)))
