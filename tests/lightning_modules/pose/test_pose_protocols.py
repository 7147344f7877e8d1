"""Protocols as numbers, and the sizes that errors are measured in."""

from __future__ import annotations

import pytest
import torch

from lightning_modules.pose.protocols import LSP, MPII, PoseProtocol, head_size, torso_size


# joint orders and flip pairs: the data sets' own documentation
@pytest.mark.parametrize(
    ("protocol", "pairs", "columns"),
    [
        (
            LSP,
            {(0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)},
            {
                "Head": (12, 13),
                "Sho": (8, 9),
                "Elb": (7, 10),
                "Wri": (6, 11),
                "Hip": (2, 3),
                "Kne": (1, 4),
                "Ank": (0, 5),
            },
        ),
        (
            MPII,
            {(0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)},
            {
                "Head": (9,),
                "Head+neck": (8, 9),
                **{"Sho": (12, 13), "Elb": (11, 14), "Wri": (10, 15), "Hip": (2, 3), "Kne": (1, 4), "Ank": (0, 5)},
            },
        ),
    ],
    ids=["LSP", "MPII"],
)
def test_mirror_and_columns(protocol: PoseProtocol, pairs: set, columns: dict) -> None:
    assert {(k, m) for k, m in enumerate(protocol.mirror) if k < m} == pairs
    assert [protocol.mirror[m] for m in protocol.mirror] == list(range(len(protocol.joints)))
    assert list(protocol.columns) == list(columns)
    assert {name: tuple(sorted(joints)) for name, joints in protocol.columns.items()} == columns


def test_mpii_leaves_out_pelvis_and_thorax_and_lsp_nothing() -> None:
    assert MPII.scored == (0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15)
    assert LSP.scored == tuple(range(14))
    for protocol in LSP, MPII:
        assert set(protocol.scored) == {joint for joints in protocol.columns.values() for joint in joints}


def test_parts() -> None:
    assert set(LSP.parts) == {(12, 13), (8, 7), (7, 6), (2, 1), (1, 0), (9, 10), (10, 11), (3, 4), (4, 5)}
    assert set(MPII.parts) == {(8, 9), (12, 11), (11, 10), (2, 1), (1, 0), (13, 14), (14, 15), (3, 4), (4, 5)}


def test_the_torso_is_left_shoulder_to_right_hip() -> None:
    joints = torch.zeros(2, 14, 2)
    joints[0, 9], joints[0, 2] = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    joints[1, 8], joints[1, 3] = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])  # the other diagonal
    assert torso_size(joints).tolist() == [5.0, 0.0]


def test_the_head_is_six_tenths_of_the_diagonal() -> None:
    box = torch.tensor([[[0.0, 0.0], [30.0, 40.0]], [[30.0, 0.0], [0.0, 40.0]]], dtype=torch.float64)
    assert head_size(box).tolist() == [30.0, 30.0]


def test_wrong_shapes() -> None:
    with pytest.raises(ValueError, match="joints is \\(2, 16, 2\\); the torso is that of LSP"):
        torso_size(torch.zeros(2, 16, 2))
    with pytest.raises(ValueError, match="box is \\(2, 4\\)"):
        head_size(torch.zeros(2, 4))
