import dataclasses

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from datamodules import LSP_SKELETON, PoseAugmentation
from datamodules.pose.crop import map_points
from datamodules.pose.people import People
from datamodules.pose.samples import PoseSamples

RIGHT_WRIST, LEFT_WRIST = 6, 11
GEOMETRY = PoseAugmentation(rotation_p=1, flip=0.5, colour=0, blur=0, dropout=0)
FLIP = PoseAugmentation(rotation_p=0, scale=0, flip=1, colour=0, blur=0, dropout=0)


def dotted(joints):
    """A bright dot at each wrist: red at the right one, green at the left one."""
    y, x = np.mgrid[:120, :100]
    photo = np.zeros((120, 100, 3))
    for channel, k in (0, RIGHT_WRIST), (1, LEFT_WRIST):
        photo[..., channel] = 255 * np.exp(-((x - joints[k, 0]) ** 2 + (y - joints[k, 1]) ** 2) / 8)
    return photo.round().astype(np.uint8)


@pytest.fixture(scope="module")
def people():
    generator = np.random.default_rng(5)
    joints = generator.uniform((35, 45), (65, 75), (8, 14, 2))
    visible = generator.random((8, 14)) < 0.7
    visible[:, [RIGHT_WRIST, LEFT_WRIST]] = True
    boxes = np.tile([49.5, 59.5, 120.0], (8, 1))
    names = [f"person {n}" for n in range(8)]
    return People(LSP_SKELETON, [dotted(j) for j in joints], names, joints, visible, np.arange(1, 9.0), boxes)


def centroid(plane):
    weights = (plane.double() + 1).numpy()
    v, u = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(weights * u).sum(), (weights * v).sum()]) / weights.sum()


def test_batch(people):
    batch = PoseSamples(people, 64).__getitems__([3, 0, 7])
    shapes = {name: (tuple(value.shape), value.dtype) for name, value in batch.items()}
    assert shapes == {
        "image": ((3, 3, 64, 64), torch.float32),
        "joints": ((3, 14, 2), torch.float32),
        "visible": ((3, 14), torch.bool),
        "size": ((3,), torch.float32),
        "to_image": ((3, 2, 3), torch.float32),
        "index": ((3,), torch.int64),
    }
    assert batch["index"].tolist() == [3, 0, 7]
    assert_allclose(batch["size"], np.array([4, 1, 8]) * 64 / 120, rtol=1e-6)
    assert np.array_equal(batch["visible"], people.visible[[3, 0, 7]])
    one = PoseSamples(people, 64)[3]
    assert all(torch.equal(one[name], batch[name][0]) for name in batch)


@pytest.mark.parametrize("augmentation", [None, GEOMETRY, dataclasses.replace(GEOMETRY, half_body=1)])
def test_dots_lie_at_their_joints(people, augmentation):
    samples = PoseSamples(people, 128, augmentation)
    mirrored = 0
    for epoch in range(4):
        batch = samples.__getitems__([(epoch, n) for n in range(8)])
        for n in range(8):
            flipped = bool(torch.linalg.det(batch["to_image"][n, :, :2]) < 0)
            mirrored += flipped
            # the right wrist of a mirrored person is the left wrist's dot
            for k, channel in (RIGHT_WRIST, int(flipped)), (LEFT_WRIST, 1 - flipped):
                joint = batch["joints"][n, k].numpy()
                if (joint > 20).all() and (joint < 107).all():
                    assert np.abs(centroid(batch["image"][n, channel]) - joint).max() < 0.5
    assert mirrored == 0 if augmentation is None else 8 < mirrored < 24


def test_joints_return_to_the_photo(people):
    batch = PoseSamples(people, 96, GEOMETRY).__getitems__([(2, n) for n in range(8)])
    for n in range(8):
        back = batch["to_image"][n].double().numpy()
        order = list(LSP_SKELETON.mirror) if np.linalg.det(back[:, :2]) < 0 else list(range(14))
        assert np.array_equal(batch["visible"][n], people.visible[n, order])
        seen = people.visible[n, order]
        expected = people.joints[n, order][seen]
        assert np.abs(map_points(batch["joints"][n].double().numpy(), back)[seen] - expected).max() < 1e-3
        length = np.sqrt(abs(np.linalg.det(back[:, :2])))
        assert batch["size"][n].item() * length == pytest.approx(people.sizes[n], rel=1e-5)


def test_missing_joints_stay_missing_and_labelled_ones_stay_outside_the_crop(people):
    near = dataclasses.replace(people, boxes=np.tile([49.5, 59.5, 10.0], (8, 1)))
    for augmentation in None, FLIP, PoseAugmentation():
        batch = PoseSamples(near, 64, augmentation).__getitems__(range(8))
        assert not batch["joints"][~batch["visible"]].any()
        assert batch["visible"].sum() == people.visible.sum()
        outside = ((batch["joints"] < -0.5) | (batch["joints"] > 63.5)).any(2) & batch["visible"]
        assert outside.sum() > 20
    flipped = PoseSamples(people, 64, FLIP).__getitems__(range(8))["visible"]
    assert np.array_equal(flipped, people.visible[:, list(LSP_SKELETON.mirror)])


def test_flipping_twice_is_no_change(people):
    plain, once = (PoseSamples(people, 120, augmentation).__getitems__(range(8)) for augmentation in (None, FLIP))
    pixels = ((once["image"].permute(0, 2, 3, 1).numpy() + 1) * 127.5).round().astype(np.uint8)
    mirrored = People(
        LSP_SKELETON,
        list(pixels),
        people.names,
        once["joints"].double().numpy(),
        once["visible"].numpy(),
        people.sizes,
        np.tile([59.5, 59.5, 120.0], (8, 1)),
    )
    twice = PoseSamples(mirrored, 120, FLIP).__getitems__(range(8))
    assert not torch.equal(once["image"], plain["image"])
    for name in "image", "visible", "size":
        assert torch.equal(twice[name], plain[name])
    assert_allclose(twice["joints"], plain["joints"], atol=1e-4)


def test_randomness_depends_on_seed_epoch_and_index_alone(people):
    def image(key, seed=0, group=()):
        return PoseSamples(people, 32, PoseAugmentation(), seed).__getitems__([*group, key])["image"][-1]

    first = image((1, 3))
    assert torch.equal(first, image((1, 3), group=[(0, 2), (1, 3)]))
    for other in image((2, 3)), image((1, 3), seed=1):
        assert not torch.equal(first, other)
    assert torch.equal(image(3), image((0, 3)))
    same_person = dataclasses.replace(
        people, images=[people.images[0]] * 8, joints=people.joints[[0] * 8], visible=people.visible[[0] * 8]
    )
    batch = PoseSamples(same_person, 32, PoseAugmentation()).__getitems__(range(8))
    assert len({picture.numpy().tobytes() for picture in batch["image"]}) == 8


def test_global_random_states_do_not_matter_and_are_left_alone(people):
    samples = PoseSamples(people, 32, PoseAugmentation())
    np.random.seed(1), torch.manual_seed(1)
    states = np.random.get_state()[1].tolist(), torch.get_rng_state()
    first = samples.__getitems__(range(8))
    assert np.random.get_state()[1].tolist() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    np.random.seed(2), torch.manual_seed(2)
    assert torch.equal(first["image"], samples.__getitems__(range(8))["image"])


def test_a_person_outside_its_photo_is_named(people):
    boxes = people.boxes.copy()
    boxes[4, 0] = 900
    with pytest.raises(ValueError, match=r"person 4: the box .* lies outside the photo of 100x120 px"):
        PoseSamples(dataclasses.replace(people, boxes=boxes), 32).__getitems__([3, 4])


def test_size_below_one(people):
    with pytest.raises(ValueError, match="size is 0; pass 1 or more"):
        PoseSamples(people, 0)
