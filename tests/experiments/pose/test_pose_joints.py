"""The benchmarks' joints are written down twice, as the library folders import nothing from each other: both agree."""

from __future__ import annotations

import pytest

from datamodules import LSP_SKELETON, MPII_SKELETON
from lightning_modules.pose.protocols import LSP, MPII


@pytest.mark.parametrize(("skeleton", "protocol"), [(LSP_SKELETON, LSP), (MPII_SKELETON, MPII)], ids=["LSP", "MPII"])
def test_data_and_protocol_number_the_same_joints(skeleton, protocol) -> None:
    assert skeleton.name == protocol.name
    assert skeleton.joints == protocol.joints
    assert tuple(skeleton.mirror) == protocol.mirror
