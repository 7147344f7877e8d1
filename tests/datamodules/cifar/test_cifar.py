"""The batches of the CIFAR data modules."""

import os
import pickle
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from fakes import write_cifar10
from pytorch_lightning.callbacks import ModelCheckpoint

from datamodules import CIFAR10DataModule
from datamodules.cifar.crop_and_flip import crop_and_flip
from datamodules.loading.counters import random_bits
from datamodules.loading.ordering import EpochSampler

DATA_ROOT = os.environ.get("DATA_ROOT")
real = pytest.mark.skipif(DATA_ROOT is None, reason="DATA_ROOT does not name the folder of cifar-10-batches-py")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_cifar10(tmp_path_factory.mktemp("cifar"))


def fake(root, **kwargs):
    return CIFAR10DataModule(root, **{"verify": False, "val_size": 10, "batch_size": 32, **kwargs})


def tensors(loader):
    batches = list(loader)
    return torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])


def normalised(images):
    mean, std = (torch.tensor(v)[:, None, None] for v in (CIFAR10DataModule.mean, CIFAR10DataModule.std))
    return (images / 255 - mean) / std


@pytest.mark.parametrize("split", ["train", "val", "test", "predict"])
@pytest.mark.parametrize("on_device", [False, True])
def test_batches(root, split, on_device):
    data = fake(root, on_device=on_device)
    loader = getattr(data, f"{split}_dataloader")()
    count = {"train": 90, "val": 10}.get(split, 30)
    seen = 0
    for batch in loader:
        images, labels = data.on_after_batch_transfer(batch, 0)
        assert images.shape == (len(labels), 3, 32, 32)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert (batch[0].dtype == torch.uint8) == on_device
        seen += len(labels)
    assert (seen, len(loader)) == (count, -(-count // 32))


def test_values_are_normalised_grey_levels(root):
    data = fake(root, val_size=0, augmentation=False)
    dataset = data.train_dataloader().dataset
    images, labels = dataset.__getitems__([(4, 3), (4, 0)])
    torch.testing.assert_close(images, normalised(dataset.images[[3, 0]].float()), rtol=1e-5, atol=1e-5)
    assert labels.tolist() == dataset.labels[[3, 0]].tolist()
    assert torch.equal(dataset[3][0], images[0])


def test_training_images_are_padded_cropped_and_mirrored(root):
    data = fake(root, val_size=0)
    dataset = data.train_dataloader().dataset
    keys = torch.tensor([[4, n] for n in range(100)])
    fill = (255 * torch.tensor(data.mean)).round()
    crops = crop_and_flip(dataset.images, random_bits(0, keys[:, 0], keys[:, 1]), fill)
    images, _ = dataset.__getitems__([(4, n) for n in range(100)])
    torch.testing.assert_close(images, normalised(crops.float()), rtol=1e-5, atol=1e-5)
    corners = images[..., [0, 0, 31, 31], [0, 31, 0, 31]]
    assert (corners.abs() < 0.02).any()  # padding shows the mean colour, which becomes 0
    assert not torch.equal(images, dataset.__getitems__([(5, n) for n in range(100)])[0])


def test_on_device_yields_the_same_batches_bit_for_bit(root):
    for split in "train", "val", "test":
        host, device = (getattr(fake(root, on_device=on), f"{split}_dataloader")() for on in (False, True))
        for expected, raw in zip(host, device, strict=True):
            images, labels = fake(root).on_after_batch_transfer(raw, 0)
            assert torch.equal(images, expected[0])
            assert torch.equal(labels, expected[1])


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize(
    "augmentation", [True, A.Compose([A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(p=0.5)])]
)
def test_augmentation_depends_on_seed_epoch_and_image_alone(root, on_device, augmentation):
    def by_image(**kwargs):
        data = fake(root, on_device=on_device, augmentation=augmentation, **kwargs)
        loader = data.train_dataloader()
        loader.sampler.set_epoch(3)
        order = [index for _, index in loader.sampler]
        images = torch.cat([data.on_after_batch_transfer(batch, 0)[0] for batch in loader])
        return images[torch.tensor(order).argsort()]

    reference = by_image()
    assert torch.equal(reference, by_image(num_workers=2))
    assert torch.equal(reference, by_image(batch_size=7))
    if augmentation is True:
        assert not torch.equal(reference, by_image(seed=1))


def test_a_transform_gets_bytes_and_is_used_in_training_alone(root):
    data = fake(root, val_size=0, augmentation=A.HorizontalFlip(p=1))
    dataset = data.train_dataloader().dataset
    images, _ = dataset.__getitems__([2, 5])
    torch.testing.assert_close(images, normalised(dataset.images[[2, 5]].flip(-1).float()), rtol=1e-5, atol=1e-5)
    plain, transformed = fake(root, augmentation=False), fake(root, augmentation=A.HorizontalFlip(p=1))
    for split in "val", "test":
        name = f"{split}_dataloader"
        assert torch.equal(tensors(getattr(plain, name)())[0], tensors(getattr(transformed, name)())[0])


@pytest.mark.parametrize("transform", [A.Resize(16, 16), A.ToFloat()])
def test_a_transform_that_changes_shape_or_type_is_refused(root, transform):
    with pytest.raises(ValueError, match=r"augmentation made \w+ \(\d+, \d+, 3\) of an image; leave out"):
        next(iter(fake(root, augmentation=transform).train_dataloader()))


def test_validation_is_held_out_by_seed_alone(root):
    def rows(loader):
        return {image.numpy().tobytes() for image in tensors(loader)[0]}

    def parts(**kwargs):
        data = fake(root, augmentation=False, **kwargs)
        return rows(data.train_dataloader()), rows(data.val_dataloader()) if data.val_size else set()

    train, val = parts()
    assert (len(train), len(val)) == (90, 10)
    assert train | val == parts(val_size=0)[0]
    assert parts(batch_size=3) == (train, val)
    assert parts(seed=1)[1] != val
    assert fake(root, val_size=0).val_dataloader() == []


def test_ranks_see_disjoint_parts(root):
    dataset = fake(root).train_dataloader().dataset
    keys = []
    for rank in range(2):
        order = EpochSampler(dataset, seed=0, progress=lambda: (0, 0), num_replicas=2, rank=rank)
        keys.append(set(order))
    assert not keys[0] & keys[1]
    assert len(keys[0] | keys[1]) == len(dataset)


def test_iterating_leaves_the_global_random_state_alone(root):
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    data = fake(root)
    list(data.train_dataloader()), list(data.val_dataloader())
    assert torch.equal(states[0], torch.get_rng_state())
    np.testing.assert_array_equal(states[1], np.random.get_state()[1])


def test_dataset_can_be_sent_to_workers(root):
    dataset = fake(root).train_dataloader().dataset
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[1, 2][0], dataset[1, 2][0])


class Recorder(pl.LightningModule):
    """Records what it is trained on, as it gets it."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3072, 10)
        self.batches = []

    def training_step(self, batch, batch_idx):
        images, labels = batch
        assert images.dtype == torch.float32
        self.batches.append((images.numpy().tobytes(), labels.tolist()))
        return torch.nn.functional.cross_entropy(self.layer(images.flatten(1)), labels)

    def validation_step(self, batch, batch_idx):
        assert len(batch) == 2
        assert batch[0].dtype == torch.float32

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fit(root, *, save=None, ckpt=None, **kwargs):
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=save is not None,
        callbacks=[ModelCheckpoint(save, "{step}", save_top_k=-1, every_n_train_steps=1)] if save else [],
    )
    module = Recorder()
    trainer.fit(module, fake(root, **kwargs), ckpt_path=ckpt, weights_only=False)
    return module.batches


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("on_device", [False, True])
def test_a_resumed_fit_sees_the_same_batches(root, tmp_path, on_device):
    full = fit(root, save=tmp_path, on_device=on_device)
    assert len(full) == 6
    assert full == fit(root, on_device=not on_device)
    for step in 2, 3, 4:
        assert fit(root, ckpt=tmp_path / f"step={step}.ckpt", on_device=on_device) == full[step:]


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("num_workers", -1), ("val_size", -1), ("seed", -1)])
def test_arguments_out_of_range(root, name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}; pass"):
        fake(root, **{name: value})


def test_validation_must_leave_images_to_train_on(root):
    with pytest.raises(ValueError, match=r"val_size is 100, but .* 100 training images"):
        fake(root, val_size=100).setup()


@real
def test_the_official_cifar_10():
    data = CIFAR10DataModule(Path(DATA_ROOT), val_size=0)
    data.prepare_data()
    train, test = data.train_dataloader().dataset, data.test_dataloader().dataset
    assert train.images.shape == (50_000, 3, 32, 32)
    assert train.labels.bincount().tolist() == [5000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10
    assert train.labels[:5].tolist() == [6, 9, 9, 4, 1]
    pixels = train.images.transpose(0, 1).flatten(1).float() / 255
    assert pixels.mean(1).tolist() == pytest.approx(data.mean, abs=1e-4)
    assert pixels.std(1).tolist() == pytest.approx(data.std, abs=1e-4)
