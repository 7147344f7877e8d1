import dataclasses

import pytest

from datamodules import LSP_SKELETON, MPII_SKELETON

both = pytest.mark.parametrize("skeleton", [LSP_SKELETON, MPII_SKELETON], ids=["LSP", "MPII"])


def test_orders_are_those_of_the_data_sets():
    # fmt: off
    assert LSP_SKELETON.joints == (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
        "neck", "head_top",
    )
    assert MPII_SKELETON.joints == (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "pelvis", "thorax", "neck", "head_top", "right_wrist", "right_elbow",
        "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    )
    # fmt: on


def test_trees_are_the_documented_ones():
    mpii = "6-2 6-3 2-1 1-0 3-4 4-5 6-7 7-8 8-9 7-12 12-11 11-10 7-13 13-14 14-15"
    lsp = "12-8 8-7 7-6 12-9 9-10 10-11 12-13 12-2 2-1 1-0 12-3 3-4 4-5"
    for text, skeleton in (mpii, MPII_SKELETON), (lsp, LSP_SKELETON):
        assert {tuple(map(int, edge.split("-"))) for edge in text.split()} == set(skeleton.edges)
    assert (MPII_SKELETON.root, LSP_SKELETON.root) == (6, 12)


@both
def test_loops_join_hips_shoulders_and_sides(skeleton):
    def names(*joints):
        return frozenset(joints)

    assert {names(*(skeleton.joints[k] for k in loop)) for loop in skeleton.loops} == {
        names("left_hip", "right_hip"),
        names("left_shoulder", "right_shoulder"),
        names("right_shoulder", "right_hip"),
        names("left_shoulder", "left_hip"),
    }


@both
def test_mirror_exchanges_left_and_right(skeleton):
    for k, name in enumerate(skeleton.joints):
        other = name.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right")
        assert skeleton.joints[skeleton.mirror[k]] == other
    mirrored = {(skeleton.mirror[a], skeleton.mirror[b]) for a, b in skeleton.edges}
    assert mirrored == set(skeleton.edges)


def test_legs():
    assert LSP_SKELETON.legs == (0, 1, 2, 3, 4, 5)
    assert MPII_SKELETON.legs == (0, 1, 2, 3, 4, 5, 6)


def test_places_in_the_other_set():
    assert MPII_SKELETON.places_in(LSP_SKELETON) == (0, 1, 2, 3, 4, 5, None, None, 12, 13, 6, 7, 8, 9, 10, 11)
    assert LSP_SKELETON.places_in(MPII_SKELETON) == (0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 8, 9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": LSP_SKELETON.edges[:-1]}, "not all of its 14 joints"),
        ({"edges": LSP_SKELETON.edges[::-1]}, "does not extend the tree"),
        ({"root": 13}, "does not extend the tree"),
        ({"loops": ((0, 14),)}, "loops of LSP"),
        ({"mirror": (1, 2, 0, *range(3, 14))}, "exchanges pairs"),
        ({"mirror": tuple(range(13))}, "exchanges pairs"),
        ({"joints": (*LSP_SKELETON.joints[:-1], "neck")}, "each name occurs once"),
    ],
)
def test_no_skeleton(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(LSP_SKELETON, **change)
