import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import write_lsp, write_lspet
from scipy.io import loadmat, savemat

from datamodules import LSP_SKELETON, LSPDataModule, PoseAugmentation
from datamodules.pose.lsp import observer_centric, read_lsp, read_lspet

DATA_ROOT = os.environ.get("DATA_ROOT")
real = pytest.mark.skipif(
    DATA_ROOT is None, reason="DATA_ROOT does not name the folder of lsp_dataset and lspet_dataset"
)


@pytest.fixture
def root(tmp_path):
    write_lsp(tmp_path), write_lspet(tmp_path)
    return tmp_path


def fake(root, **kwargs):
    return LSPDataModule(root, **{"val_size": 2, "input_size": 64, "batch_size": 4, "augmentation": None, **kwargs})


def brightest(image):
    plane = image[0].numpy()
    plane = np.where(plane > plane.max() - 0.6, plane + 1, 0)
    v, u = np.mgrid[: plane.shape[0], : plane.shape[1]]
    return np.array([(plane * u).sum(), (plane * v).sum()]) / plane.sum()


def change(root, folder, alter):
    path = root / folder / "joints.mat"
    table = loadmat(path)["joints"]
    altered = alter(table)
    savemat(path, {"joints": table if altered is None else altered}, do_compression=True)


def test_lsp_is_read_as_it_was_written(tmp_path):
    joints = write_lsp(tmp_path)
    people = read_lsp(tmp_path / "lsp_dataset")
    assert people.skeleton is LSP_SKELETON
    np.testing.assert_allclose(people.joints, joints, atol=1e-9)
    assert people.visible.all()
    np.testing.assert_allclose(people.sizes, np.hypot(*(joints[:, 9] - joints[:, 2]).T))
    for n in range(12):
        height, width = people.images[n].shape[:2]
        assert people.boxes[n].tolist() == [(width - 1) / 2, (height - 1) / 2, max(width, height)]
    assert people.names[3].endswith("images/im0004.jpg")


def test_lspet_is_read_as_it_was_written(tmp_path):
    joints, labelled = write_lspet(tmp_path)
    labelled[0, 9] = False
    change(tmp_path, "lspet_dataset", lambda table: table[9, 2].put(0, 0))
    people = read_lspet(tmp_path / "lspet_dataset")
    assert np.array_equal(people.visible, labelled)
    np.testing.assert_allclose(people.joints, np.where(labelled[..., None], joints, 0), atol=1e-9)
    for n in range(10):
        low, high = joints[n][labelled[n]].min(0), joints[n][labelled[n]].max(0)
        np.testing.assert_allclose(people.boxes[n], [*(low + high) / 2, 1.32 * (high - low).max()])
        torso = np.hypot(*(joints[n, 9] - joints[n, 2]))
        known = labelled[n, 9] and labelled[n, 2]
        assert people.sizes[n] == pytest.approx(torso if known else 0.41 * (high - low).max())
    assert not (labelled[:, 9] & labelled[:, 2]).all()


def test_dots_lie_at_the_head_tops(root):
    for loader in fake(root).test_dataloader(), fake(root).train_dataloader():
        for batch in loader:
            for image, joints in zip(batch["image"], batch["joints"].numpy(), strict=True):
                if (joints[13] > 4).all() and (joints[13] < 59).all():
                    assert np.abs(brightest(image) - joints[13]).max() < 0.5


def test_splits(root):
    data = fake(root)
    names = {split: [Path(name).name for name in data.people(split).names] for split in ("train", "val", "test")}
    assert names["test"] == [f"im{n:04d}.jpg" for n in range(7, 13)]
    lsp, lspet = names["train"][:4], names["train"][4:]
    assert sorted(lsp + names["val"]) == [f"im{n:04d}.jpg" for n in range(1, 7)]
    assert lspet == [f"im{n:05d}.jpg" for n in range(1, 11)]
    assert len(fake(root, extended=False).people("train")) == 4
    assert fake(root, val_size=0).val_dataloader() == []
    assert len(fake(root, val_size=0).people("train")) == 16
    chosen = {tuple(fake(root, seed=seed, extended=False).people("val").names) for seed in range(8)}
    assert len(chosen) > 1


def test_repeats_show_the_training_people_of_lsp_more_often(root):
    once, thrice = fake(root, augmentation=PoseAugmentation()), fake(root, repeats=3, augmentation=PoseAugmentation())
    names = list(once.people("train").names)
    assert list(thrice.people("train").names) == 3 * names[:4] + names[4:]
    for split in "val", "test":
        assert list(thrice.people(split).names) == list(once.people(split).names)
    samples = thrice.train_dataloader().dataset
    assert not torch.equal(samples[0]["image"], samples[4]["image"])  # the same person, otherwise augmented


def test_box_scale_scales_the_boxes_of_all(root):
    plain, closer = fake(root), fake(root, box_scale=0.9)
    for split in "train", "val", "test":
        boxes, expected = closer.people(split).boxes, plain.people(split).boxes
        np.testing.assert_array_equal(boxes[:, :2], expected[:, :2])
        np.testing.assert_allclose(boxes[:, 2], 0.9 * expected[:, 2])


def test_lsp_alone_does_not_need_the_extended_set(tmp_path):
    write_lsp(tmp_path)
    assert len(fake(tmp_path, extended=False).people("test")) == 6
    with pytest.raises(FileNotFoundError, match=r"lspet_dataset/joints.mat is missing"):
        fake(tmp_path).setup()


def person(turn=0.0, back=False):
    """Arms and legs in a frame that is turned clockwise; the names of one who faces us, or does not."""
    joints = np.zeros((14, 2))
    joints[[0, 1, 2, 3, 4, 5]] = [(-1, 4), (-1, 3), (-1, 2), (1, 2), (1, 3), (1, 4)]
    joints[[6, 7, 8, 9, 10, 11]] = [(-3, 0), (-2, 0), (-1, 0), (1, 0), (2, 0), (3, 0)]
    joints[[12, 13]] = [(0, 0), (0, -1)]
    if back:
        joints = joints[list(LSP_SKELETON.mirror)]
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return joints @ np.array([[cos, sin], [-sin, cos]])


@pytest.mark.parametrize("turn", [0, 80, 180, 260])
def test_observer_centric_labels_of_front_and_back(turn):
    front, back = person(turn), person(turn, back=True)
    everything = np.ones((2, 14), bool)
    joints, _ = observer_centric(np.stack([front, back]), everything)
    np.testing.assert_allclose(joints, np.stack([front, front]))


def test_observer_centric_arms_and_legs_are_looked_at_apart():
    twisted = np.concatenate([person()[:6], person(back=True)[6:]])
    visible = np.ones((1, 14), bool)
    visible[0, 6] = False
    joints, labelled = observer_centric(twisted[None], visible)
    np.testing.assert_allclose(joints[0], person())
    assert np.flatnonzero(~labelled[0]).tolist() == [11]
    visible[0, 8] = False  # whose shoulder is unknown stays as it is
    joints, labelled = observer_centric(twisted[None], visible)
    assert np.array_equal(joints[0], twisted)
    assert np.array_equal(labelled, visible)


def test_observer_centric_setting(root):
    plain, seen = fake(root), fake(root, observer_centric=True)
    expected, _ = observer_centric(plain.people("test").joints, plain.people("test").visible)
    assert np.array_equal(seen.people("test").joints, expected)
    assert not np.array_equal(plain.people("test").joints, expected)
    torsos = np.hypot(*(expected[:, 9] - expected[:, 2]).T)
    np.testing.assert_allclose(seen.people("test").sizes, torsos)
    assert not np.array_equal(seen.people("train").joints[-10:], plain.people("train").joints[-10:])


@pytest.mark.parametrize(
    ("folder", "alter", "message"),
    [
        ("lsp_dataset", lambda t: t.transpose(1, 0, 2), r"lsp_dataset/joints.mat has shape \(14, 3, 12\), not \(3, 14"),
        ("lspet_dataset", lambda t: t.transpose(1, 0, 2), r"lspet_dataset/joints.mat has shape \(3, 14, 10\)"),
        ("lsp_dataset", lambda t: t[:, :13], r"has shape \(3, 13, 12\)"),
        ("lsp_dataset", lambda t: t[..., 0], r"has shape \(3, 14\)"),
        ("lsp_dataset", lambda t: t.astype(str), r"take the official file"),
        ("lsp_dataset", lambda t: t[..., :9], r"describes 9 images, but there is .*im0010.jpg"),
        ("lsp_dataset", lambda t: t[0, 3].put(4, np.nan), r"im0005.jpg has a labelled joint that is not finite"),
        ("lspet_dataset", lambda t: t[13, 0].put(4, np.inf), r"im00005.jpg: .* not finite"),
        ("lspet_dataset", lambda t: t[:, 2, 6].fill(0), r"im00007.jpg: a person has no labelled joint"),
        ("lspet_dataset", lambda t: t[3, 2].put(6, 2), r"third column of .*joints.mat is not 0 or 1"),
    ],
)
def test_bad_annotations_are_named(root, folder, alter, message):
    change(root, folder, alter)
    with pytest.raises(ValueError, match=message):
        fake(root).setup()


def test_junk_may_be_anything(root):
    def alter(table):
        table[:, :2][np.broadcast_to(table[:, 2:] == 0, table[:, :2].shape)] = np.nan

    change(root, "lspet_dataset", alter)
    for batch in fake(root).train_dataloader():
        assert batch["joints"].isfinite().all()


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 no more", None], ids=["empty", "text", "cut off"])
def test_damaged_mat_files_are_named(root, content):
    path = root / "lsp_dataset" / "joints.mat"
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    with pytest.raises(ValueError, match=r"joints.mat(' cannot be read as .mat| has no variable)"):
        fake(root).setup()


def test_another_mat_file_is_named(root):
    savemat(root / "lsp_dataset" / "joints.mat", {"points": np.zeros(3)}, do_compression=True)
    with pytest.raises(ValueError, match=r"joints.mat has no variable 'joints'"):
        fake(root).setup()


def test_missing_and_damaged_images_are_named(root):
    image = root / "lsp_dataset" / "images" / "im0003.jpg"
    whole = image.read_bytes()
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r"1 images are missing, the first of them .*im0003.jpg"):
        fake(root).setup()
    image.write_bytes(b"")
    with pytest.raises(ValueError, match=r"im0003.jpg is empty"):
        fake(root).setup()
    image.write_bytes(whole[:200])
    with pytest.raises(ValueError, match=r"im0003.jpg is no image"):
        fake(root).setup()
    image.write_bytes(whole)
    (root / "lspet_dataset" / "images" / "im00002.jpg").write_bytes(whole[:200])
    with pytest.raises(ValueError, match=r"im00002.jpg is no image"):
        list(fake(root).train_dataloader())


def test_missing_folder(root):
    shutil.rmtree(root / "lsp_dataset")
    with pytest.raises(FileNotFoundError, match=r"lsp_dataset/joints.mat is missing"):
        fake(root).setup()


def test_arguments_out_of_range(root):
    with pytest.raises(ValueError, match="val_size is -1; pass"):
        fake(root, val_size=-1)
    with pytest.raises(ValueError, match="val_size is 6, but there are 6 people"):
        fake(root, val_size=6).setup()
    with pytest.raises(ValueError, match="repeats is 0; pass 1 or more"):
        fake(root, repeats=0)
    for scale in 0.0, -1.0, math.inf, math.nan:
        with pytest.raises(ValueError, match=f"box_scale is {scale}; pass a positive number"):
            fake(root, box_scale=scale)


@real
def test_real_lsp():
    people = read_lsp(Path(DATA_ROOT) / "lsp_dataset")
    assert people.visible.shape == (2000, 14)
    lengths = people.joints[1000:, 9] - people.joints[1000:, 2]
    assert (np.hypot(*lengths.T) < 20).sum() == 4
    tight = np.ptp(people.joints, axis=1).max(1)
    assert np.median(people.boxes[:, 2] / tight) == pytest.approx(1.32, abs=0.01)
    seen, _ = observer_centric(people.joints, people.visible)
    changed = (seen != people.joints).any((1, 2))
    assert (changed.sum(), changed[1000:].sum()) == (756, 380)


@real
def test_real_lspet():
    people = read_lspet(Path(DATA_ROOT) / "lspet_dataset")
    assert people.visible.shape == (10000, 14)
    assert people.visible.sum() == 123_213
    assert people.visible.all(1).sum() == 3_945


@real
def test_real_splits_and_a_batch():
    data = LSPDataModule(DATA_ROOT, batch_size=64, input_size=128, val_size=100)
    assert {split: len(data.people(split)) for split in ("train", "val", "test")} == {
        "train": 10_900,
        "val": 100,
        "test": 1000,
    }
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].std() > 0.3
    inside = ((batch["joints"] > 0) & (batch["joints"] < 127)).all(2)[batch["visible"]]
    assert inside.float().mean() > 0.9
