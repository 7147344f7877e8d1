"""RePose, a small network for human poses with learned kinematic updates."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .kinematics import Kinematics, KinematicUpdates
from .sizes import check_positive


class RePose(nn.Module):
    """An encoder, kinematic updates at the coarsest resolution, and a decoder, with heatmaps at every level.

    (B, 3, H, W), sides multiples of ``coarse_stride`` -> heatmaps (B, K, H / s, W / s) from coarse to fine, for each
    stride s of ``strides``: (16, 8, 4), or (32, 16, 8, 4). Convolutions start Kaiming-normal, those that make heatmaps
    with standard deviation 0.001. ``BASE`` (the default), ``MEDIUM`` and ``SMALL`` are sizes:
    ``RePose(kinematics, **RePose.SMALL)``.

    With the 16 joints of MPII and a tree, BASE has 4.079M parameters. Its convolutions take 6.78 G multiply-adds on
    256x256 pixels (13.56 GFLOPs) where the 1x1 convolutions of the decoder follow the upsampling. Here their coarse
    half runs before it, with the same result in 6.67 G, which is what ``multiply_adds`` counts.

    Args:
        kinematics: joints, their graph, and the order of the updates. Without passes the network has no updates.
        width: number of channels of encoder and decoder.
        channels: number of channels of each joint at the coarsest resolution.
        hidden: number of channels inside the update of a joint.
        stem: number of channels of the first convolution.
        coarse_stride: image pixels along the side of a cell at the coarsest resolution, 16 or 32.
        extra_blocks: residual blocks added at the coarsest resolution. With 4 and no passes the network costs what
            BASE costs with its updates, as a control.

    Raises:
        ValueError: a size is below 1, or ``coarse_stride`` is not 16 or 32; on a call, the image has another shape.

    Reference:
        Isack et al. 2020 and US patent 11,335,023 B2, which covers the method. The stages are theirs: features,
        downsampled several times, split into a set for each joint, updated along the skeleton, upsampled several
        times. Widths, depths and blocks are ours, for about 4M parameters.

    Example:
        >>> chain = Kinematics(3, edges=[(0, 1), (1, 2)], root=1)
        >>> network = RePose(chain, width=8, channels=4, hidden=4, stem=8)
        >>> [tuple(heatmaps.shape) for heatmaps in network(torch.zeros(2, 3, 64, 32))]
        [(2, 3, 4, 2), (2, 3, 8, 4), (2, 3, 16, 8)]
    """

    BASE: ClassVar[dict[str, int]] = {"width": 128, "channels": 32, "hidden": 32, "stem": 64}
    MEDIUM: ClassVar[dict[str, int]] = {"width": 96, "channels": 24, "hidden": 24, "stem": 48}
    SMALL: ClassVar[dict[str, int]] = {"width": 64, "channels": 16, "hidden": 16, "stem": 32}

    def __init__(
        self,
        kinematics: Kinematics,
        *,
        width: int = 128,
        channels: int = 32,
        hidden: int = 32,
        stem: int = 64,
        coarse_stride: int = 16,
        extra_blocks: int = 0,
    ) -> None:
        super().__init__()
        check_positive(width=width, channels=channels, hidden=hidden, stem=stem)
        if extra_blocks < 0:
            raise ValueError(f"extra_blocks is {extra_blocks}; it is 0 or more")
        if coarse_stride not in (16, 32):
            raise ValueError(f"coarse_stride is {coarse_stride}; it is 16 or 32")
        joints = kinematics.num_joints
        encoder_blocks, decoder_blocks = ([2, 1, 2], [1, 2]) if coarse_stride == 16 else ([2, 1, 1, 1], [1, 1, 2])
        encoder_blocks[-1] += extra_blocks
        self.strides = tuple(coarse_stride >> level for level in range(len(encoder_blocks)))
        self.stem = nn.Sequential(*_conv(3, stem, 7, stride=2), *_conv(stem, width, 3, stride=2))
        self.encoder = nn.ModuleList(
            nn.Sequential(
                *(_conv(width, width, 3, stride=2) if level else ()), *(ResidualBlock(width) for _ in range(blocks))
            )
            for level, blocks in enumerate(encoder_blocks)
        )
        self.split = nn.Sequential(*_conv(width, joints * channels, 1))
        self.updates = KinematicUpdates(kinematics, channels, hidden)
        self.head = nn.Conv2d(joints * channels, joints, 1, groups=joints)
        inputs = [joints * channels] + [width] * (len(decoder_blocks) - 1)
        self.decoder = nn.ModuleList(
            Refinement(source, width, joints, blocks) for source, blocks in zip(inputs, decoder_blocks, strict=True)
        )
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d):
                _initialize(layer, is_head=name.endswith("head"))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        coarse = self.strides[0]
        if image.dim() != 4 or image.shape[1] != 3 or image.shape[2] % coarse or image.shape[3] % coarse:
            raise ValueError(
                f"image has shape {tuple(image.shape)}; it is (B, 3, H, W), H and W multiples of the coarse stride "
                f"{coarse}: pad or resize it"
            )
        x = self.stem(image)
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        features = self.updates(self.split(skips.pop()))
        heatmaps = [self.head(features)]
        for stage, skip in zip(self.decoder, reversed(skips), strict=True):
            features, finer = stage(features, heatmaps[-1], skip)
            heatmaps.append(finer)
        return tuple(heatmaps)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        change = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(x + change)


class Refinement(nn.Module):
    """A step of the decoder: from coarse features and heatmaps and the encoder's finer features to finer ones of both.

    The upsampled coarse side and the fine side go through a 1x1 convolution with batch norm and ReLU, then through
    residual blocks. The half of that convolution that reads the coarse side runs before the bilinear upsampling, with
    which it commutes, at a quarter of the work.
    """

    def __init__(self, source: int, width: int, joints: int, blocks: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(source + joints, width, 1, bias=False)
        self.skip = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.head = nn.Conv2d(width, joints, 1)

    def forward(self, features: Tensor, heatmaps: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        x = self.coarse(torch.cat([features, heatmaps], dim=1))
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = self.blocks(F.relu(self.norm(x + self.skip(skip))))
        return x, self.head(x)


def _conv(source: int, target: int, kernel: int, *, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(source, target, kernel, stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(target), nn.ReLU(inplace=True)]


def _initialize(layer: nn.Conv2d, *, is_head: bool) -> None:
    if is_head:
        nn.init.normal_(layer.weight, std=0.001)
    else:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
