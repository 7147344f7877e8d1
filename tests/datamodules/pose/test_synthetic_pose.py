import numpy as np
import pytest
import torch

from datamodules import LSP_SKELETON, SyntheticPoseDataModule
from datamodules.pose.drawn_figures import DrawnFigures, draw_figure, random_figure

FIGURES = [random_figure(128, np.random.default_rng([7, n])) for n in range(300)]
RIGHT = [0, 1, 2, 6, 7, 8]
LEFT = [LSP_SKELETON.mirror[k] for k in RIGHT]


def across(figure):
    """How far the person's left shoulder and hip are to the right of the other ones, with the trunk upright."""
    up = figure.joints[12] - figure.joints[[2, 3]].mean(0)
    sides = figure.joints[[9, 3]] - figure.joints[[8, 2]]
    return -up[1] * sides[:, 0] + up[0] * sides[:, 1]


def test_figures_are_decided_by_seed_and_index():
    figures, again, others = (DrawnFigures(4, 64, (seed, 0)) for seed in (3, 3, 4))
    assert np.array_equal(figures.joints(), again.joints())
    assert np.array_equal(figures[2], again[2])
    assert not np.array_equal(figures[2], figures[1])
    assert not np.array_equal(figures[2], others[2])
    assert np.array_equal(figures.joints()[:2], DrawnFigures(2, 64, (3, 0)).joints())


def test_the_left_side_is_on_the_right_of_those_who_face_us():
    assert 110 < sum(figure.facing for figure in FIGURES) < 190
    for figure in FIGURES:
        assert (across(figure) > 0).all() == figure.facing
        assert (across(figure) < 0).all() == (not figure.facing)


def test_people_are_centred_and_of_similar_size():
    joints = np.array([figure.joints for figure in FIGURES])
    low, high = joints.min(1), joints.max(1)
    assert low.min() > 3
    assert high.max() < 124
    assert np.abs((low + high) / 2 - 63.5).max() < 0.03 * 128 + 1e-9
    side = (high - low).max(1) / 128 * 1.32
    assert side.min() > 0.9 - 1e-9
    assert side.max() < 1.1 + 1e-9


@pytest.mark.parametrize("size", [64, 160])
def test_figures_scale_with_the_image(size):
    small = random_figure(size, np.random.default_rng([7, 0])).joints
    np.testing.assert_allclose((small + 0.5) / size, (FIGURES[0].joints + 0.5) / 128, atol=1e-9)


def test_wrists_and_ankles_are_drawn_at_their_joints():
    """A second drawing with one limb's end moved differs from the first around both places alone."""
    figure = FIGURES[1]
    first = draw_figure(figure, 128, np.random.default_rng(0)).astype(int)
    for k in 6, 11, 0, 5:
        moved = figure.joints.copy()
        moved[k] += 0.7 * (figure.joints[k - 1 if k in (5, 11) else k + 1] - moved[k])
        other = draw_figure(type(figure)(moved, figure.facing), 128, np.random.default_rng(0)).astype(int)
        changed = np.argwhere(np.abs(first - other).sum(2) > 0)[:, ::-1]
        assert len(changed) > 5
        assert np.abs(changed - figure.joints[k]).max(1).min() < 3


@pytest.mark.parametrize("facing", [True, False])
def test_the_face_and_the_front_tell_left_from_right(facing):
    figure = FIGURES[0]
    drawings = [
        draw_figure(type(figure)(figure.joints, f), 128, np.random.default_rng(0)) for f in (facing, not facing)
    ]
    assert (np.abs(drawings[0].astype(int) - drawings[1]).sum(2) > 30).sum() > 60


def test_splits_share_no_figure():
    data = SyntheticPoseDataModule(train_size=20, val_size=20, test_size=20, input_size=32)
    joints = np.concatenate([data.people(split).joints for split in ("train", "val", "test")])
    assert len(np.unique(joints.round(6), axis=0)) == 60
    other = SyntheticPoseDataModule(train_size=20, val_size=20, test_size=20, input_size=32, seed=1)
    assert not np.array_equal(other.people("test").joints, data.people("test").joints)
    longer = SyntheticPoseDataModule(train_size=30, val_size=0, test_size=20, input_size=32)
    assert np.array_equal(longer.people("test").joints, data.people("test").joints)
    assert longer.val_dataloader() == []


def test_a_batch_shows_the_figures_themselves():
    data = SyntheticPoseDataModule(train_size=2, test_size=3, batch_size=3)
    batch = next(iter(data.test_dataloader()))
    people = data.people("test")
    assert batch["visible"].all()
    torch.testing.assert_close(batch["joints"].double(), torch.from_numpy(people.joints), atol=1e-4, rtol=0)
    pixels = (batch["image"].permute(0, 2, 3, 1) + 1) * 127.5
    assert np.abs(pixels[1].numpy() - people.images[1]).max() < 0.01
    torso = np.hypot(*(people.joints[:, 9] - people.joints[:, 2]).T)
    np.testing.assert_allclose(batch["size"], torso, rtol=1e-5)
    assert torso.min() > 15


@pytest.mark.parametrize(("name", "value"), [("train_size", 0), ("val_size", -1), ("test_size", 0)])
def test_sizes_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}; pass"):
        SyntheticPoseDataModule(**{name: value})
