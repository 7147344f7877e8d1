"""What a seed chooses stays what it was in earlier versions: held-out samples, training orders, figures and crops."""

from pathlib import Path

import numpy as np
import pytest
from fakes import mpii_person, write_cifar10, write_cifar100, write_imagenet, write_lsp, write_mnist, write_mpii

from datamodules import (
    CIFAR10DataModule,
    CIFAR100DataModule,
    ImageNetDataModule,
    LSPDataModule,
    MNISTDataModule,
    MPIIDataModule,
    PoseAugmentation,
    SyntheticPoseDataModule,
)

LARGE = 2**33 + 7  # a seed of more than 32 bits


@pytest.mark.parametrize(
    ("kind", "write", "seed", "golden"),
    [
        (MNISTDataModule, write_mnist, 0, [3, 17, 21, 44, 46, 47]),
        (MNISTDataModule, write_mnist, 5, [13, 17, 26, 30, 35, 53]),
        (MNISTDataModule, write_mnist, LARGE, [0, 14, 15, 18, 40, 47]),
        (CIFAR10DataModule, write_cifar10, 0, [19, 44, 69, 71, 90, 93]),
        (CIFAR10DataModule, write_cifar10, LARGE, [2, 15, 27, 57, 59, 71]),
        (CIFAR100DataModule, write_cifar100, 5, [11, 38, 60, 153, 176, 189]),
    ],
)
def test_held_out_images_in_memory(tmp_path, kind, write, seed, golden):
    def images(val_size, split):
        data = kind(root, val_size=val_size, seed=seed, verify=False)
        return [image.numpy().tobytes() for image in getattr(data, f"{split}_dataloader")().dataset.images]

    root = write(tmp_path)
    everything, val, train = images(0, "train"), images(6, "val"), images(6, "train")
    assert [everything.index(image) for image in val] == golden
    assert train == [image for n, image in enumerate(everything) if n not in golden]


@pytest.mark.parametrize(
    ("seed", "golden"),
    [
        (0, ["764_2", "764_4", "040_3", "040_5", "186_2", "186_4"]),
        (5, ["764_3", "764_6", "040_0", "040_5", "186_1", "186_6"]),
        (LARGE, ["040_0", "040_6", "186_1", "186_3", "186_4", "186_6"]),
    ],
)
def test_held_out_photos(tmp_path, seed, golden):
    data = ImageNetDataModule(write_imagenet(tmp_path, train=7), val_size=6, seed=seed)
    assert [Path(name.decode()).stem[-5:] for name in data.val_dataloader().dataset.files.names] == golden


@pytest.mark.parametrize(
    ("seed", "lsp", "mpii"),
    [
        (0, [1, 3, 4, 11, 12], [2, 2, 5, 5, 7, 7, 10, 10]),
        (5, [2, 4, 8, 12, 15], [1, 1, 7, 7, 9, 9, 11, 11]),
        (LARGE, [2, 4, 6, 7, 11], [1, 1, 2, 2, 9, 9, 11, 11]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*split of Tompson")
def test_held_out_people(tmp_path, seed, lsp, mpii):
    write_lsp(tmp_path, 30)
    people = LSPDataModule(tmp_path, extended=False, val_size=5, seed=seed).people("val")
    assert [int(Path(name).stem[2:]) for name in people.names] == lsp
    write_mpii(tmp_path, {f"{n}.jpg": [mpii_person(n), mpii_person(n + 50)] for n in range(12)})
    people = MPIIDataModule(tmp_path, val_size=4, seed=seed).people("val")
    assert [int(name.split(": ")[1].split(".")[0]) for name in people.names] == mpii


@pytest.mark.parametrize(
    ("seed", "epoch", "mnist", "cifar"),
    [
        (0, 0, [36, 43, 23, 28, 29, 11], [34, 31, 75, 19, 47, 74]),
        (0, 3, [52, 12, 19, 50, 14, 31], [90, 78, 39, 84, 14, 76]),
        (LARGE, 3, [43, 25, 1, 20, 53, 24], [49, 7, 57, 13, 53, 20]),
    ],
)
def test_training_orders(tmp_path, seed, epoch, mnist, cifar):
    def order(data):
        sampler = data.train_dataloader().sampler
        sampler.set_epoch(epoch)
        return list(sampler)[:6]

    arguments = {"val_size": 6, "seed": seed, "verify": False}
    assert order(MNISTDataModule(write_mnist(tmp_path), **arguments)) == mnist
    assert order(CIFAR10DataModule(write_cifar10(tmp_path), **arguments)) == [(epoch, index) for index in cifar]


def test_drawn_figures_and_their_crops():
    data = SyntheticPoseDataModule(
        train_size=3, val_size=2, test_size=1, input_size=64, seed=5, augmentation=PoseAugmentation(half_body=0.5)
    )
    knees = {"train": (35.5401, 40.6732), "val": (26.0057, 46.0989), "test": (16.2957, 39.2078)}
    for split, (x, y) in knees.items():
        assert data.people(split).joints[0, 1] == pytest.approx((x, y), abs=1e-3)
    golden = [
        [[-0.9686, 0, 62.0103], [0, 0.9686, 0.9897]],
        [[0.7213, 0, 3.1542], [0, 0.7213, 22.9183]],
        [[-0.4839, 0, 35.6164], [0, 0.4839, 27.6571]],
    ]
    crops = data.train_dataloader().dataset.__getitems__([(3, n) for n in range(3)])
    np.testing.assert_allclose(crops["to_image"], golden, atol=1e-3)
