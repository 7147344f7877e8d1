"""The batches of ImageNetDataModule."""

import os
import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import WNIDS, coloured_jpeg, write_imagenet

from datamodules import ImageNetDataModule
from datamodules.imagenet.samples import MEAN, STD
from datamodules.loading.ordering import EpochSampler

DATA_ROOT = os.environ.get("DATA_ROOT")
real = pytest.mark.skipif(DATA_ROOT is None, reason="DATA_ROOT does not name the folder of imagenette_1000")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_imagenet(tmp_path_factory.mktemp("imagenet"))


def fake(root, **kwargs):
    return ImageNetDataModule(root, **{"input_size": 32, "batch_size": 5, **kwargs})


def grey(images):
    """Grey values 0 to 255 of normalised images."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return 255 * (images * std + mean)


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
        return [{str(f.path(i)) for i in range(len(f))} for f in (data.split(s) for s in ("train", "val", "test"))]

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
    shutil.rmtree(write_imagenet(tmp_path) / "val")
    data = fake(tmp_path)
    assert data.val_dataloader() == []
    with pytest.raises(FileNotFoundError, match="has no validation images; put them there"):
        data.test_dataloader()
    assert len(fake(tmp_path, val_size=2).val_dataloader().dataset) == 2


BAD = {"text": b"no image", "empty": b"", "cut off": coloured_jpeg(1, 2, 40, 50)[:-200]}


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
    assert len(data.split("train")) == 12


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
    [("input_size", 0), ("batch_size", 0), ("num_workers", -1), ("val_size", -1), ("seed", -1), ("damaged", "ignore")],
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
