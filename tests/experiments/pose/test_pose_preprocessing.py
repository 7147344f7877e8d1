"""A photo is prepared for prediction as people are for training: the libraries may not import one another."""

from __future__ import annotations

import numpy as np
import torch

from datamodules import LSP_SKELETON, MPII_SKELETON
from datamodules.files.photos import to_input
from datamodules.pose.crop import cut_out, image_box, inverse_map, map_to_crop
from lightning_modules.pose.photo import crop
from lightning_modules.pose.protocols import LSP, MPII


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / 10
    channels = [127 + 120 * np.sin(x + phase) * np.cos(y - phase) for phase in (0, 1, 2)]
    return np.stack(channels, 2).round().astype(np.uint8)


def test_predict_crops_as_the_test_set_does() -> None:
    for height, width, size in ((150, 90, 128), (90, 150, 128), (60, 60, 128), (100, 100, 100)):
        photo = smooth(height, width)
        forward = map_to_crop(image_box(width, height), size)
        expected = to_input(cut_out(photo, forward, size)[None])
        found, to_photo = crop(torch.from_numpy(photo), None, size)
        inside = expected[0, 0] > -1  # OpenCV and torch blend differently where the photo ends
        close = (found - expected).abs().amax((0, 1)) < 0.03
        assert close[inside].float().mean() > 0.97
        assert np.allclose(to_photo, inverse_map(forward), atol=1e-4)


def test_skeletons_and_protocols_agree() -> None:
    for skeleton, protocol in ((LSP_SKELETON, LSP), (MPII_SKELETON, MPII)):
        assert skeleton.joints == protocol.joints
        assert skeleton.mirror == protocol.mirror
