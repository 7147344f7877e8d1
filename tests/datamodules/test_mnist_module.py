"""The batches of MNISTDataModule, without a Trainer."""

import pickle

import pytest
import torch
from fakes import write_mnist

from datamodules import MNISTDataModule

torch.set_num_threads(1)


@pytest.fixture
def root(tmp_path):
    return write_mnist(tmp_path)


def fake(root, **kwargs):
    return MNISTDataModule(root, **{"verify": False, "download": False, "val_size": 8, **kwargs})


def tensors(loader):
    batches = list(loader)
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def same(a, b):
    return all(torch.equal(s, t) for s, t in zip(tensors(a), tensors(b), strict=True))


@pytest.mark.parametrize("split", ["train", "val", "test", "predict"])
def test_batches(root, split):
    data = fake(root, batch_size=5)
    loader = getattr(data, f"{split}_dataloader")()
    count = {"train": 56, "val": 8}.get(split, 32)
    batches = list(loader)
    assert [len(y) for _, y in batches] == [5] * (count // 5) + [count % 5]
    assert len(loader) == len(batches)
    for images, labels in batches:
        assert images.shape == (len(labels), 1, 28, 28)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert images.min() >= 0
        assert 0.9 < images.max() <= 1
        assert labels.min() >= 0
        assert labels.max() <= 9


def test_values_are_grey_levels_over_255(root):
    dataset = fake(root, val_size=0).train_dataloader().dataset
    image, label = dataset[3]
    assert torch.equal(image, dataset.images[3].float() / 255)
    assert label == dataset.labels[3]
    batch, labels = dataset.__getitems__([3, 0])
    assert torch.equal(batch[0], image)
    assert torch.equal(labels, dataset.labels[[3, 0]])


def test_predicting_uses_the_test_images(root):
    data = fake(root)
    assert same(data.predict_dataloader(), data.test_dataloader())


def test_setup_reads_once(root):
    data = fake(root)
    data.setup("fit")
    for path in root.iterdir():
        path.unlink()
    data.setup("test")
    assert len(list(data.test_dataloader())) == 1


def test_validation_is_held_out_by_seed_alone(root):
    def rows(loader):
        return {image.numpy().tobytes() for image in tensors(loader)[0]}

    data = fake(root)
    train, val = rows(data.train_dataloader()), rows(data.val_dataloader())
    everything = rows(fake(root, val_size=0).train_dataloader())
    assert len(train) == 56
    assert len(val) == 8
    assert train | val == everything
    assert rows(fake(root, batch_size=3).val_dataloader()) == val
    assert rows(fake(root, seed=1).val_dataloader()) != val


def test_no_validation(root):
    assert fake(root, val_size=0).val_dataloader() == []


def test_training_order_depends_on_seed_and_epoch(root):
    data = fake(root)
    loader = data.train_dataloader()
    first = tensors(loader)[0]
    assert torch.equal(first, tensors(loader)[0])
    assert torch.equal(first, tensors(fake(root, batch_size=3).train_dataloader())[0])
    loader.sampler.set_epoch(1)
    assert not torch.equal(first, tensors(loader)[0])
    other = fake(root, seed=1, val_size=0).train_dataloader()
    assert not same(fake(root, val_size=0).train_dataloader(), other)


def test_workers_yield_the_same_batches(root):
    with_worker, without = fake(root, num_workers=1), fake(root)
    for split in "train", "val", "test":
        name = f"{split}_dataloader"
        assert same(getattr(with_worker, name)(), getattr(without, name)())


def test_iterating_leaves_the_global_random_state_alone(root):
    state = torch.get_rng_state()
    data = fake(root)
    list(data.train_dataloader()), list(data.val_dataloader())
    assert torch.equal(state, torch.get_rng_state())


def test_dataset_can_be_sent_to_workers(root):
    dataset = fake(root).test_dataloader().dataset
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy.images, dataset.images)


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("num_workers", -1), ("val_size", -1), ("seed", -1)])
def test_arguments_out_of_range(root, name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}; pass"):
        fake(root, **{name: value})


@pytest.mark.parametrize("val_size", [64, 65])
def test_validation_must_leave_images_to_train_on(root, val_size):
    with pytest.raises(ValueError, match=f"val_size is {val_size}, but .* 64 training images"):
        fake(root, val_size=val_size).setup()
