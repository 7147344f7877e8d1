"""VGG-16 with one linear layer after global pooling."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from .initialization import he_normal
from .sizes import check_positive, scaled


class VGG16(nn.Module):
    """VGG-16: thirteen 3x3 convolutions, global average pooling and a linear classifier, 15,222,464 parameters.

    (B, in_channels, H, W) -> logits (B, num_classes), with sides of 16 or more. By default it is the network of the
    gradient-flow paper, without norms and biases, in which initialization matters most. Convolutions and classifier
    start He-normal over fan_in.

    Args:
        num_classes: number of logits.
        in_channels: number of image channels.
        width: multiplies the channels of every convolution, rounded down; 0.44 has about as many weights as the
            default at 80 % sparsity.
        batch_norm: whether a norm follows every convolution. The classifier then starts from N(0, 0.01^2).
        bias: whether convolutions and classifier have biases. With them the keys ``features.N`` are those of
            torchvision's vgg16, or vgg16_bn with ``batch_norm``.

    Raises:
        ValueError: a size is below 1, or ``width`` leaves no channels.

    Reference:
        Evci et al. 2022, released code: unlike Simonyan & Zisserman 2015, no max pooling after the last block and no
        hidden linear layers. The code draws from a truncated normal of the same variance.

    Example:
        >>> import torch
        >>> VGG16(num_classes=10, width=0.125)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    BLOCKS: ClassVar[tuple[tuple[int, ...], ...]] = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        in_channels: int = 3,
        width: float = 1.0,
        batch_norm: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        check_positive(num_classes=num_classes, in_channels=in_channels)
        layers: list[nn.Module] = []
        source = in_channels
        for block in self.BLOCKS:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for target in (scaled(channels, width) for channels in block):
                layers.append(nn.Conv2d(source, target, 3, padding=1, bias=bias))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(target))
                layers.append(nn.ReLU())
                source = target
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(source, num_classes, bias=bias)
        he_normal(self, "fan_in")
        if not batch_norm:
            nn.init.kaiming_normal_(self.classifier.weight, nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(image).mean((2, 3)))
        return logits


class VGG16BN(VGG16):
    """VGG-16 with batch norm and biases, torchvision's vgg16_bn up to its classifier.

    It takes the arguments of :class:`VGG16` but ``batch_norm`` and ``bias``.

    Example:
        Load a torchvision checkpoint without its three linear layers:

        >>> network = VGG16BN(num_classes=10)
        >>> state = torch.load("vgg16_bn.pth")  # doctest: +SKIP
        >>> state = {key: value for key, value in state.items() if key.startswith("features.")}  # doctest: +SKIP
        >>> network.load_state_dict(state, strict=False)  # doctest: +SKIP
    """

    def __init__(self, num_classes: int = 1000, **options: Any) -> None:
        super().__init__(num_classes, batch_norm=True, bias=True, **options)
