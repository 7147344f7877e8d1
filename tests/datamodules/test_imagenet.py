"""The batches of ImageNetDataModule."""

import os
import pickle
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fakes import WNIDS, write_imagenet

from datamodules import ImageNetDataModule, imagenet_samples
from datamodules.imagenet_layouts import find_images
from datamodules.imagenet_samples import MEAN, STD, ImageNetSamples
from datamodules.ordering import EpochSampler

DATA_ROOT = os.environ.get("DATA_ROOT")
real = pytest.mark.skipif(DATA_ROOT is None, reason="DATA_ROOT does not name the folder of imagenette_1000")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_imagenet(tmp_path_factory.mktemp("imagenet"))


def fake(root, **kwargs):
    return ImageNetDataModule(root, **{"size": 32, "batch_size": 5, **kwargs})


def grey(images):
    """Grey values 0 to 255 of normalised images."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return 255 * (images * std + mean)


def single(tmp_path, raw, size=32, **kwargs):
    """Samples of one photo."""
    path = write_imagenet(tmp_path, train=1) / "train" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG"
    path.write_bytes(raw)
    return ImageNetSamples(find_images(tmp_path, 1)[1], size, **kwargs)


def jpeg(pixels):
    return cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()


def turned(raw, orientation):
    body = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return raw[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + raw[2:]


def gradient(height, width):
    """Red tells the column, from 0 to 255, green the row."""
    y, x = np.mgrid[:height, :width]
    return np.dstack([255 * x / (width - 1), 255 * y / (height - 1), 0 * x]).astype(np.uint8)


@pytest.mark.parametrize("layout", ["folders", "tiny", "tars", "devkit"])
def test_batches_of_every_layout(tmp_path, layout):
    data = fake(write_imagenet(tmp_path, layout))
    for split, count in ("train", 12), ("val", 6), ("test", 6), ("predict", 6):
        loader = getattr(data, f"{split}_dataloader")()
        batches = list(loader)
        assert [len(labels) for _, labels in batches] == [5] * (count // 5) + [count % 5]
        for images, labels in batches:
            assert images.shape == (len(labels), 3, 32, 32)
            assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
            assert torch.equal(grey(images).mean((2, 3)).argmax(1), labels)
    assert data.class_names == WNIDS


def test_the_centre_is_cut_out_of_the_resized_photo(tmp_path):
    samples = single(tmp_path, jpeg(gradient(448, 896)), size=112)
    image = grey(samples[0][0])
    # the shorter side becomes 128, of which 112 remain; of the longer, 112 of 256
    for channel, axis, share in (0, 1, 112 / 256), (1, 0, 112 / 128):
        ramp = image[channel].mean(1 - axis)
        assert float(ramp[0]) == pytest.approx(255 * (0.5 - share / 2), abs=2.5)
        assert float(ramp[-1]) == pytest.approx(255 * (0.5 + share / 2), abs=2.5)
    assert image[2].max() < 6


def test_random_parts_are_what_their_draw_says_at_any_reduction(tmp_path, monkeypatch):
    raw = jpeg(gradient(600, 900))
    samples = single(tmp_path, raw, augment=True, seed=3)
    reductions, decode = [], imagenet_samples.decode_photo

    def watched(*args, reduction=1, **kwargs):
        reductions.append(reduction)
        return decode(*args, reduction=reduction, **kwargs)

    monkeypatch.setattr(imagenet_samples, "decode_photo", watched)
    reduced = torch.stack([samples[epoch, 0][0] for epoch in range(60)])
    assert set(reductions) == {4, 8}  # the parts have sides of 200 to 750 px, for crops of 32
    monkeypatch.setattr(imagenet_samples, "_reduction", lambda *_: 1)
    whole = torch.stack([samples[epoch, 0][0] for epoch in range(60)])
    assert (grey(reduced) - grey(whole)).abs().mean() < 2
    assert (grey(reduced) - grey(whole)).abs().max() < 12


def test_random_parts_follow_the_law(tmp_path):
    samples = single(tmp_path, jpeg(gradient(300, 400)), augment=True)
    images = grey(torch.stack([samples[epoch, 0][0] for epoch in range(400)]))
    columns, rows = images[:, 0].mean(1), images[:, 1].mean(2)
    mirrored = columns[:, 0] > columns[:, -1]
    width, height = 400 / 255 * (columns[:, -1] - columns[:, 0]).abs(), 300 / 255 * (rows[:, -1] - rows[:, 0])
    area, ratio = width * height / (300 * 400), width / height
    assert 150 < mirrored.sum() < 250
    assert 0.06 < area.min() < 0.15
    assert area.max() < 1.01
    assert 0.70 < ratio.min() < 0.85
    assert 1.2 < ratio.max() < 1.40
    assert 0.38 < area.mean() < 0.56


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (6, -1), (3, 2), (8, 1)])
@pytest.mark.parametrize("augment", [False, True])
def test_exif_orientation_is_followed(tmp_path, orientation, turns, augment):
    upright = gradient(600, 400)
    stored = np.ascontiguousarray(np.rot90(upright, -turns))
    samples = single(tmp_path, turned(jpeg(stored), orientation), augment=augment)
    images = grey(torch.stack([samples[epoch, 0][0] for epoch in range(20)]))
    columns, rows = images[:, 0].mean(1), images[:, 1].mean(2)
    assert (rows[:, -1] > rows[:, 0] + 20).all()  # never upside down or on its side
    assert (images[:, 1].mean(1).std(1) < 8).all()
    if not augment:
        assert (columns[:, -1] > columns[:, 0] + 20).all()


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (90, 1), (20, 30), (2000, 40)])
def test_small_and_narrow_photos_are_enlarged(tmp_path, shape, augment):
    samples = single(tmp_path, jpeg(np.full((*shape, 3), 90, np.uint8)), augment=augment)
    for epoch in range(5):
        assert (grey(samples[epoch, 0][0]) - 90).abs().max() < 4


@pytest.mark.parametrize("augment", [False, True])
def test_grey_photos_and_other_formats(tmp_path, augment):
    grey_jpeg = cv2.imencode(".jpg", np.full((300, 300), 90, np.uint8))[1].tobytes()
    png = cv2.imencode(".png", np.full((301, 303, 3), 90, np.uint8))[1].tobytes()  # ImageNet has one, named .JPEG
    for n, raw in enumerate((grey_jpeg, png)):
        samples = single(tmp_path / str(n), raw, augment=augment)
        for epoch in range(5):
            assert (grey(samples[epoch, 0][0]) - 90).abs().max() < 3


def test_cmyk_photos(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the CMYK file")
    path = tmp_path / "red.jpg"
    image.new("CMYK", (300, 200), (0, 255, 255, 0)).save(path)
    samples = single(tmp_path / "set", path.read_bytes(), augment=True)
    red, *others = grey(samples[0][0]).mean((1, 2)).tolist()
    assert red > 200
    assert max(others) < 60


def test_crops_depend_on_seed_epoch_and_photo_alone(root):
    def by_photo(epoch=3, **kwargs):
        loader = fake(root, **kwargs).train_dataloader()
        loader.sampler.set_epoch(epoch)
        order = torch.tensor([index for _, index in loader.sampler])
        return torch.cat([images for images, _ in loader])[order.argsort()]

    reference = by_photo()
    assert torch.equal(reference, by_photo(num_workers=2))
    assert torch.equal(reference, by_photo(batch_size=3))
    assert not torch.equal(reference, by_photo(epoch=4))
    assert not torch.equal(reference, by_photo(seed=1))


def test_a_resumed_epoch_goes_on_with_the_same_crops(root):
    samples = fake(root).train_dataloader().dataset
    order = EpochSampler(samples, seed=0, progress=lambda: (0, 5))
    whole = list(order)
    order.load_state_dict(order.state_dict())
    rest = list(order)
    assert rest == whole[5:]
    assert torch.equal(samples.__getitems__(rest)[0], samples.__getitems__(whole)[0][5:])


def test_ranks_see_disjoint_parts(root):
    samples = fake(root).train_dataloader().dataset
    parts = [
        set(EpochSampler(samples, seed=0, progress=lambda: (0, 0), num_replicas=2, rank=rank)) for rank in range(2)
    ]
    assert not parts[0] & parts[1]
    assert len(parts[0] | parts[1]) == 12


def test_iterating_leaves_the_global_random_state_alone(root):
    import random

    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    list(fake(root).train_dataloader()), list(fake(root).val_dataloader())
    assert torch.equal(states[0], torch.get_rng_state())
    np.testing.assert_array_equal(states[1], np.random.get_state()[1])
    assert states[2] == random.getstate()


def test_samples_can_be_sent_to_workers(root):
    samples = fake(root).train_dataloader().dataset
    assert torch.equal(pickle.loads(pickle.dumps(samples))[2, 1][0], samples[2, 1][0])


def test_validation_held_out_of_training(root):
    def paths(data):
        return [{str(f.path(i)) for i in range(len(f))} for f in (data._files(s) for s in ("train", "val", "test"))]

    everything, official, _ = paths(fake(root))
    train, val, test = paths(fake(root, val_size=3))
    assert (len(train), len(val)) == (9, 3)
    assert train | val == everything
    assert test == official
    assert paths(fake(root, val_size=3, batch_size=2))[1] == val
    assert paths(fake(root, val_size=3, seed=2))[1] != val
    labels = torch.cat([y for _, y in fake(root, val_size=3).val_dataloader()])
    assert len(labels) == 3


def test_without_validation_images(tmp_path):
    import shutil

    shutil.rmtree(write_imagenet(tmp_path) / "val")
    data = fake(tmp_path)
    assert data.val_dataloader() == []
    with pytest.raises(FileNotFoundError, match="has no validation images; put them there"):
        data.test_dataloader()
    assert len(fake(tmp_path, val_size=2).val_dataloader().dataset) == 2


BAD = {"text": b"no image", "empty": b"", "cut off": jpeg(gradient(60, 80))[:-200]}


@pytest.fixture(params=BAD.values(), ids=BAD)
def damaged(tmp_path, request):
    path = write_imagenet(tmp_path) / "train" / WNIDS[1] / f"{WNIDS[1]}_2.JPEG"
    path.write_bytes(request.param)
    return path


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_damaged_file_is_named_when_it_is_met(tmp_path, damaged, num_workers):
    with pytest.raises(
        ValueError, match=rf"{damaged} is no image, or damaged .*, or have it left out with damaged='skip'"
    ):
        list(fake(tmp_path, num_workers=num_workers).train_dataloader())


def test_checking_names_it_before_training(tmp_path, damaged):
    with pytest.raises(ValueError, match=rf"1 of 12 images in .*train are damaged, the first: {damaged} .*'skip'"):
        fake(tmp_path, damaged="check").setup()


def test_skipping_leaves_it_out_and_warns_once(tmp_path, damaged):
    data = fake(tmp_path, damaged="skip")
    with pytest.warns(UserWarning, match=rf"1 of 12 images .* the first: {damaged} .*; they are left out") as warned:
        data.setup()
    assert len(warned) == 1
    labels = torch.cat([labels for _, labels in data.train_dataloader()])
    assert labels.bincount().tolist() == [4, 3, 4]


def test_good_files_pass_the_check(root):
    data = fake(root, damaged="check", num_workers=2)
    data.setup()
    assert len(data._files("train")) == 12


def test_all_damaged_cannot_be_skipped(tmp_path):
    for path in write_imagenet(tmp_path).glob("val/*/*"):
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="6 of 6 images in"):
        fake(tmp_path, damaged="skip").setup()


def test_a_file_that_vanishes_is_named(tmp_path):
    data = fake(write_imagenet(tmp_path))
    data.setup()
    path = tmp_path / "val" / WNIDS[0] / f"{WNIDS[0]}_1.JPEG"
    path.unlink()
    with pytest.raises(FileNotFoundError, match=str(path)):
        list(data.val_dataloader())


@pytest.mark.parametrize(
    ("name", "value"),
    [("size", 0), ("batch_size", 0), ("num_workers", -1), ("val_size", -1), ("seed", -1), ("damaged", "ignore")],
)
def test_arguments_out_of_range(root, name, value):
    with pytest.raises(ValueError, match=f"{name} is {value!r}; pass"):
        fake(root, **{name: value})


def test_validation_must_leave_images_to_train_on(root):
    with pytest.raises(ValueError, match=r"val_size is 12, but .* has 12 training images"):
        fake(root, val_size=12).setup()


@real
def test_the_imagenette_sample():
    data = ImageNetDataModule(Path(DATA_ROOT) / "imagenette_1000", batch_size=100, damaged="check")
    train, val = data.train_dataloader(), data.val_dataloader()
    assert np.bincount(train.dataset.files.labels).tolist() == [70] * 10
    assert np.bincount(val.dataset.files.labels).tolist() == [30] * 10
    assert data.class_names[0] == "n01440764"
    images = torch.cat([images for images, _ in val])
    assert images.shape == (300, 3, 224, 224)
    assert images.mean((0, 2, 3)).abs().max() < 0.3  # normalised by the statistics of ImageNet
    assert (images.std((0, 2, 3)) - 1).abs().max() < 0.3
    grey = (images[:, 0] * STD[0] + MEAN[0] - images[:, 1] * STD[1] - MEAN[1]).abs().flatten(1).amax(1) < 1e-3
    assert grey.sum() == 6
