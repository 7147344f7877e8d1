"""SimpleBaseline, a ResNet that ends in heatmaps of joints."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from .initialization import he_normal
from .resnet import ResNetTrunk
from .sizes import check_positive


class SimpleBaseline(ResNetTrunk):
    """A ResNet, three transposed convolutions and a 1x1 convolution, which makes heatmaps at stride 4.

    (B, in_channels, H, W), sides multiples of 32 -> heatmaps (B, K, H / 4, W / 4), in a tuple of this one level, as
    networks with several levels return them. With 16 joints there are 15,376,464 parameters around ResNet-18 and
    33,999,440 around ResNet-50.

    Parameters are named as in the authors' code, which names the ResNet's as torchvision does: checkpoints of both
    load, torchvision's with ``strict=False``. The ResNet starts He-normal over fan_out, the rest from N(0, 0.001^2).

    Args:
        num_joints: number of joints K.
        depth: depth of the ResNet: 18, 34, 50, 101 or 152.
        in_channels: number of image channels.
        width: multiplies the channels of the ResNet, rounded down.
        channels: channels of the transposed convolutions.

    Raises:
        ValueError: there is no such ``depth``, a size is below 1, or ``width`` leaves no channels; on a call, the sides
            of the image are not multiples of 32.

    Reference:
        Xiao et al. 2018. The authors' ResNet starts from ImageNet's weights, or else from N(0, 0.001^2) too.

    Example:
        >>> import torch
        >>> [heatmaps] = SimpleBaseline(14, width=0.125, channels=8)(torch.zeros(2, 3, 64, 32))
        >>> heatmaps.shape
        torch.Size([2, 14, 16, 8])
    """

    strides: ClassVar[tuple[int, ...]] = (4,)

    def __init__(
        self, num_joints: int, depth: int = 18, *, in_channels: int = 3, width: float = 1.0, channels: int = 256
    ) -> None:
        super().__init__(depth, in_channels=in_channels, width=width)
        check_positive(num_joints=num_joints, channels=channels)
        layers: list[nn.Module] = []
        for source in (self.feature_channels, channels, channels):
            up = nn.ConvTranspose2d(source, channels, 4, stride=2, padding=1, bias=False)
            layers += [up, nn.BatchNorm2d(channels), nn.ReLU()]
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = nn.Conv2d(channels, num_joints, 1)
        he_normal(self)
        for layer in (*self.deconv_layers, self.final_layer):
            if isinstance(layer, (nn.ConvTranspose2d, nn.Conv2d)):
                nn.init.normal_(layer.weight, std=0.001)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        if image.shape[-2] % 32 or image.shape[-1] % 32:
            raise ValueError(f"image has shape {tuple(image.shape)}; its sides are multiples of 32: pad or resize it")
        heatmaps: Tensor = self.final_layer(self.deconv_layers(self.features(image)))
        return (heatmaps,)
