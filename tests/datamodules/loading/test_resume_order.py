"""Stopping and resuming a fit yields the batches of the uninterrupted fit."""

import pytest
import pytorch_lightning as pl
import torch
from fakes import write_mnist
from pytorch_lightning.callbacks import ModelCheckpoint

from datamodules import MNISTDataModule

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings(
    r"ignore:`isinstance\(treespec, LeafSpec\)`:FutureWarning",
    "ignore:.*does not have many workers",
    "ignore:Be aware that when using `ckpt_path`",
)
BATCHES = 6  # per epoch: 22 images, the last batch holds 2
SETTINGS = {
    "plain": {},
    "limited": {"limit_train_batches": 4},
    "validating": {"val_check_interval": 2},
    "unvalidated": {"limit_val_batches": 0},
}
settings = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)


class Recorder(pl.LightningModule):
    """Records the batches it is trained on, and raises at one step if told so."""

    def __init__(self, fail_at=None):
        super().__init__()
        self.layer = torch.nn.Linear(784, 10)
        self.fail_at = fail_at
        self.batches = []

    def training_step(self, batch, batch_idx):
        if len(self.batches) == self.fail_at:
            raise ZeroDivisionError("told so")
        images, labels = batch
        self.batches.append((batch_idx, images.numpy().tobytes(), labels.tolist()))
        return torch.nn.functional.cross_entropy(self.layer(images.flatten(1)), labels)

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveOnError(pl.Callback):
    def __init__(self, path):
        self.path = path

    def on_exception(self, trainer, pl_module, exception):
        trainer.save_checkpoint(self.path)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_mnist(tmp_path_factory.mktemp("mnist"), train=26, test=4)


@pytest.fixture
def fit(root):
    def run(limit, setting, *, callbacks=(), ckpt=None, workers=0, fail_at=None, save=None):
        data = MNISTDataModule(root, verify=False, download=False, batch_size=4, val_size=4, num_workers=workers)
        trainer = pl.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=list(callbacks),
            **limit,
            **setting,
        )
        model = Recorder(fail_at)
        trainer.fit(model, data, ckpt_path=ckpt, weights_only=False)
        if save:
            trainer.save_checkpoint(save)
        return model.batches

    return run


def epochs(count):
    return {"max_epochs": count}


def steps(count):
    return {"max_epochs": -1, "max_steps": count}


def every_step(folder):
    return ModelCheckpoint(folder, "{step}", save_top_k=-1, every_n_train_steps=1)


@settings
@pytest.mark.parametrize("counted", [epochs, steps])
def test_checkpoints_within_epochs(fit, tmp_path, setting, counted):
    per_epoch = setting.get("limit_train_batches", BATCHES)
    limit = epochs(3) if counted is epochs else steps(3 * per_epoch)
    full = fit(limit, setting, callbacks=[every_step(tmp_path)])
    assert len(full) == 3 * per_epoch
    assert len({images for _, images, _ in full}) == len(full)
    for step in 1, 3, per_epoch - 1, per_epoch, per_epoch + 1, 2 * per_epoch, 3 * per_epoch - 1:
        resumed = fit(limit, setting, ckpt=tmp_path / f"step={step}.ckpt")
        assert resumed == full[step:], f"after step {step}"


def test_accumulating_gradients(fit, tmp_path):
    setting = {"accumulate_grad_batches": 4}  # steps after batches 4 and 6 of each epoch
    full = fit(epochs(3), setting, callbacks=[every_step(tmp_path)])
    for step, batches in (1, 4), (2, 6), (4, 12), (5, 16):
        assert fit(epochs(3), setting, ckpt=tmp_path / f"step={step}.ckpt") == full[batches:]


def test_another_loader_during_the_fit_is_whole(fit):
    counts = []

    class Iterate(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            counts.append(len(list(trainer.datamodule.train_dataloader())))

    fit(epochs(2), {}, callbacks=[Iterate()])
    assert counts == [BATCHES] * 2 * BATCHES


@settings
def test_checkpoints_at_the_end_of_epochs(fit, tmp_path, setting):
    per_epoch = setting.get("limit_train_batches", BATCHES)
    full = fit(epochs(3), setting)
    for count in 1, 2:
        folder = tmp_path / str(count)
        fit(epochs(count), setting, callbacks=[ModelCheckpoint(folder, "saved")], save=folder / "x")
        for name in "saved.ckpt", "x":
            assert fit(epochs(3), setting, ckpt=folder / name) == full[count * per_epoch :]


@pytest.mark.parametrize("stop", [1, 4, BATCHES, BATCHES + 1, 2 * BATCHES + 2])
@pytest.mark.parametrize("setting", [SETTINGS["plain"], SETTINGS["validating"]])
def test_stopping_at_max_steps(fit, tmp_path, setting, stop):
    full = fit(steps(20), setting)
    callback = ModelCheckpoint(tmp_path, "saved", save_on_train_epoch_end=True)
    begin = fit(steps(stop), setting, callbacks=[callback], save=tmp_path / "by_hand.ckpt")
    assert begin == full[:stop]
    for name in "saved", "by_hand":
        assert fit(steps(20), setting, ckpt=tmp_path / f"{name}.ckpt") == full[stop:]


@pytest.mark.parametrize("fail_at", [0, 2, BATCHES - 1, BATCHES, 2 * BATCHES + 1])
@pytest.mark.parametrize("limit", [epochs(3), steps(18)])
def test_checkpoints_of_a_failed_step(fit, tmp_path, limit, fail_at):
    path = tmp_path / "failed.ckpt"
    with pytest.raises(ZeroDivisionError):
        fit(limit, {}, callbacks=[SaveOnError(path)], fail_at=fail_at)
    assert fit(limit, {}, ckpt=path) == fit(limit, {})[fail_at:]


def test_stopping_again_and_again(fit, tmp_path):
    full = fit(steps(30), {})
    done, ckpt = 0, None
    for stop in 2, 5, 12, 13, 18, 21:
        path = tmp_path / f"{stop}.ckpt"
        assert fit(steps(stop), {}, ckpt=ckpt, save=path) == full[done:stop]
        done, ckpt = stop, path
    assert fit(steps(30), {}, ckpt=ckpt) == full[done:]


def test_workers(fit, tmp_path):
    full = fit(epochs(3), {}, callbacks=[every_step(tmp_path)], workers=1)
    assert full == fit(epochs(3), {})
    for step in 2, BATCHES, 2 * BATCHES + 3:
        assert fit(epochs(3), {}, ckpt=tmp_path / f"step={step}.ckpt", workers=1) == full[step:]


@pytest.mark.filterwarnings("ignore:You requested to overfit")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
def test_overfitting_resumes_without_state(fit, tmp_path):
    setting = {"overfit_batches": 3}
    full = fit(epochs(2), setting, callbacks=[every_step(tmp_path)])
    assert fit(epochs(2), setting, ckpt=tmp_path / "step=3.ckpt") == full[3:]
