import dataclasses

import numpy as np
import pytest

from datamodules import LSP_SKELETON, MPII_SKELETON
from datamodules.pose.people import People


def crowd(count=6, skeleton=LSP_SKELETON, seed=0):
    generator = np.random.default_rng(seed)
    k = len(skeleton.joints)
    return People(
        skeleton,
        [np.full((4, 4, 3), 10 * seed + n, np.uint8) for n in range(count)],
        [f"person {seed}-{n}" for n in range(count)],
        generator.uniform(0, 100, (count, k, 2)),
        generator.random((count, k)) < 0.8,
        generator.uniform(10, 20, count),
        generator.uniform(10, 20, (count, 3)),
    )


def shades(people):
    return [int(people.images[n][0, 0, 0]) for n in range(len(people))]


def test_unlabelled_joints_are_cleared():
    people = crowd()
    assert not people.joints[~people.visible].any()
    assert people.joints[people.visible].all()
    junk = np.where(people.visible[..., None], people.joints, np.nan)
    assert not dataclasses.replace(people, joints=junk).joints[~people.visible].any()


def test_taking_rows():
    people = crowd()
    some = people.take(np.array([4, 1]))
    assert some.names == ["person 0-4", "person 0-1"]
    assert shades(some) == [4, 1]
    for field in "joints", "visible", "sizes", "boxes":
        assert np.array_equal(getattr(some, field), getattr(people, field)[[4, 1]])


def test_joints_of_another_skeleton():
    people = crowd()
    more = people.with_skeleton(MPII_SKELETON)
    assert not more.visible[:, [6, 7]].any()
    for k, name in enumerate(MPII_SKELETON.joints):
        if name in LSP_SKELETON.joints:
            j = LSP_SKELETON.joints.index(name)
            assert np.array_equal(more.joints[:, k], people.joints[:, j])
            assert np.array_equal(more.visible[:, k], people.visible[:, j])
    back = more.with_skeleton(LSP_SKELETON)
    assert np.array_equal(back.joints, people.joints)
    assert np.array_equal(back.visible, people.visible)
    assert people.with_skeleton(LSP_SKELETON) is people


def test_people_without_any_of_the_joints_are_left_out():
    people = crowd(skeleton=MPII_SKELETON)
    visible = people.visible.copy()
    visible[2] = np.isin(np.arange(16), [6, 7])
    fewer = dataclasses.replace(people, visible=visible).with_skeleton(LSP_SKELETON)
    assert fewer.names == [f"person 0-{n}" for n in (0, 1, 3, 4, 5)]
    assert shades(fewer) == [0, 1, 3, 4, 5]


def test_adding_others():
    people, others = crowd(), crowd(3, MPII_SKELETON, 7)
    both = people.concat([others])
    assert len(both) == 9
    assert both.names == [*people.names, *others.names]
    assert shades(both) == [*range(6), 70, 71, 72]
    assert np.array_equal(both.joints[6:], others.with_skeleton(LSP_SKELETON).joints)
    assert both.skeleton is LSP_SKELETON
    assert people.concat([]) is people


@pytest.mark.parametrize(
    ("field", "row", "value", "message"),
    [
        ("visible", 3, False, "person 0-3 has no labelled joint"),
        ("joints", (2, 5), np.nan, "person 0-2 has a labelled joint that is not finite"),
        ("joints", (2, 5, 1), np.inf, "person 0-2 has a labelled joint that is not finite"),
        ("sizes", 1, 0, "person 0-1 has no positive size"),
        ("sizes", 1, np.nan, "person 0-1 has no positive size"),
        ("sizes", 1, np.inf, "person 0-1 has no positive size"),
        ("boxes", (5, 0), np.nan, "person 0-5 has no box"),
        ("boxes", (5, 2), 0, "person 0-5 has no box"),
    ],
)
def test_bad_people_are_named(field, row, value, message):
    people = crowd()
    values = {name: getattr(people, name).copy() for name in ("joints", "visible", "sizes", "boxes")}
    values["visible"][2, 5] = True
    values[field][row] = value
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(people, **values)


def test_shapes_must_agree():
    people = crowd()
    with pytest.raises(ValueError, match=r"joints of 6 people with MPII joints is \(6, 14, 2\), not \(6, 16, 2\)"):
        dataclasses.replace(people, skeleton=MPII_SKELETON)
    with pytest.raises(ValueError, match=r"boxes of 6 people .* is \(6, 2\), not \(6, 3\)"):
        dataclasses.replace(people, boxes=people.boxes[:, :2])
