"""What all data modules of poses promise, on drawn figures and tiny LSP folders."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from fakes import write_lsp, write_lspet

from datamodules import LSPDataModule, PoseAugmentation, SyntheticPoseDataModule

SIZES = {"train_size": 11, "val_size": 5, "test_size": 6}


def drawn(**kwargs):
    return SyntheticPoseDataModule(**SIZES | {"input_size": 32, "batch_size": 4} | kwargs)


@pytest.fixture
def root(tmp_path):
    write_lsp(tmp_path), write_lspet(tmp_path)
    return tmp_path


def assert_same(one, other):
    one, other = list(one), list(other)
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


def images(loader):
    return torch.cat([batch["image"] for batch in loader])


@pytest.mark.parametrize("split", ["train", "val", "test", "predict"])
def test_batches(split):
    data = drawn()
    loader = getattr(data, f"{split}_dataloader")()
    count = {"train": 11, "val": 5}.get(split, 6)
    batches = list(loader)
    assert [len(batch["index"]) for batch in batches] == [4] * (count // 4) + [count % 4]
    assert len(loader) == len(batches)
    index = torch.cat([batch["index"] for batch in batches]).tolist()
    assert sorted(index) == list(range(count))
    assert (index == sorted(index)) == (split != "train")


def test_only_training_is_augmented():
    plain, varied = drawn(), drawn(augmentation=PoseAugmentation())
    assert_same(plain.val_dataloader(), varied.val_dataloader())
    assert_same(plain.test_dataloader(), varied.test_dataloader())
    assert not torch.equal(images(plain.train_dataloader()), images(varied.train_dataloader()))


def test_workers_yield_the_same_batches_in_every_epoch(root):
    options = {"batch_size": 4, "input_size": 32, "val_size": 2, "seed": 3}
    alone, helped = (LSPDataModule(root, num_workers=n, **options).train_dataloader() for n in (0, 2))
    epochs = []
    for epoch in 0, 1, 5:
        alone.sampler.set_epoch(epoch), helped.sampler.set_epoch(epoch)
        batches = list(alone)
        assert_same(batches, helped)
        order = torch.cat([batch["index"] for batch in batches])
        epochs.append(images(batches)[order.argsort()])
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[1], epochs[2])


def test_batch_sizes_do_not_change_what_is_drawn(root):
    one, other = (LSPDataModule(root, batch_size=n, input_size=32, val_size=2).train_dataloader() for n in (3, 14))
    assert torch.equal(images(one), images(other))
    seeded = LSPDataModule(root, batch_size=3, input_size=32, val_size=2, seed=1).train_dataloader()
    assert not torch.equal(images(one), images(seeded))


def test_other_data_sets_join_the_training(root):
    other = LSPDataModule(root, val_size=2, extended=False)
    data = drawn(also=[other, drawn(train_size=3, seed=9)])
    assert len(data.people("train")) == 11 + 4 + 3
    assert data.people("train").names[11:15] == other.people("train").names
    assert (len(data.people("val")), len(data.people("test"))) == (5, 6)
    index = torch.cat([batch["index"] for batch in data.train_dataloader()])
    assert sorted(index.tolist()) == list(range(18))


class Recorder(pl.LightningModule):
    """Records the images it is trained on, and raises at one step if told so."""

    def __init__(self, fail_at=None):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.fail_at, self.batches = fail_at, []

    def training_step(self, batch, batch_idx):
        if len(self.batches) == self.fail_at:
            raise ZeroDivisionError("told so")
        self.batches.append(batch["image"].numpy().tobytes())
        return self.layer(batch["image"].mean((2, 3))).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveOnError(pl.Callback):
    def __init__(self, path):
        self.path = path

    def on_exception(self, trainer, pl_module, exception):
        trainer.save_checkpoint(self.path)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`", "ignore:You passed in a `val_dataloader`")
def test_a_resumed_fit_sees_the_same_crops(tmp_path):
    def trainer(*callbacks):
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        return pl.Trainer(
            max_epochs=3, accelerator="cpu", enable_model_summary=False, callbacks=list(callbacks), **quiet
        )

    def data():
        return drawn(val_size=0, augmentation=PoseAugmentation())

    whole, first, rest = Recorder(), Recorder(fail_at=4), Recorder()
    trainer().fit(whole, data())
    with pytest.raises(ZeroDivisionError):
        trainer(SaveOnError(tmp_path / "stopped.ckpt")).fit(first, data())
    trainer().fit(rest, data(), ckpt_path=tmp_path / "stopped.ckpt", weights_only=False)
    assert len(set(whole.batches)) == 9
    assert first.batches + rest.batches == whole.batches


def test_iterating_leaves_the_global_random_state_alone():
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    data = drawn(augmentation=PoseAugmentation())
    list(data.train_dataloader()), list(data.val_dataloader())
    assert torch.equal(state, torch.get_rng_state())
    assert np.random.get_state()[1].tolist() == numpy_state


@pytest.mark.parametrize(
    ("name", "value"), [("input_size", 0), ("batch_size", 0), ("num_workers", -1), ("seed", -1), ("train_size", 0)]
)
def test_arguments_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}; pass"):
        drawn(**{name: value})
