"""Checkpoint files are whole or not there, and nothing in them is executed."""

from __future__ import annotations

import os
import pickle
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from fits import TinyModule, loader, trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from callbacks import RigL, WholeCheckpoints
from callbacks.files.safe_files import read_checkpoint


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may become larger than ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"state_dict": {"a": torch.ones(3)}}, path)
    with full_disk(20_000), pytest.raises(OSError, match=r"last.ckpt' could not be written .*still whole: make room"):
        WholeCheckpoints().save_checkpoint({"state_dict": {"a": torch.ones(30_000)}}, path)
    assert torch.equal(read_checkpoint(path)["state_dict"]["a"], torch.ones(3))
    assert os.listdir(tmp_path) == ["last.ckpt"], "nothing is left of the one that did not fit"


def test_a_kill_while_a_checkpoint_is_written_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"state_dict": {}}, path)
    whole = path.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        WholeCheckpoints().save_checkpoint({"state_dict": {"a": torch.ones(3)}}, path)
    assert path.read_bytes() == whole


def fitted(folder: Path, steps: int, ckpt: str | Path | None = None) -> RigL:
    owner, saved = RigL(0.8), ModelCheckpoint(folder, every_n_train_steps=6, save_top_k=-1, save_last=True)
    plugins = [WholeCheckpoints()]
    fit = trainer([owner, saved], max_steps=steps, enable_checkpointing=True, plugins=plugins)
    fit.fit(TinyModule(), loader(), ckpt_path=ckpt)
    return owner


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_truncated_checkpoint_is_an_error_that_names_the_newest_whole_one(tmp_path: Path) -> None:
    masks = fitted(tmp_path, 18).masks
    last, before = tmp_path / "last.ckpt", tmp_path / "epoch=2-step=18.ckpt"
    for damaged in last, before:
        damaged.write_bytes(damaged.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"last.ckpt' cannot be read.*step=12.ckpt' is whole, resume from it"):
        fitted(tmp_path, 24, last)
    assert fitted(tmp_path, 18, tmp_path / "epoch=1-step=12.ckpt").masks.digest() == masks.digest()
    for path in tmp_path.glob("*.ckpt"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="there is no other one beside it"):
        fitted(tmp_path, 24, last)


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "executed")


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    with (tmp_path / "harmful.ckpt").open("wb") as file:
        pickle.dump({"state_dict": {}, "harm": Harmful(tmp_path / "harm")}, file, protocol=2)
    with pytest.raises(ValueError, match=r"harmful.ckpt' cannot be read"):
        WholeCheckpoints().load_checkpoint(tmp_path / "harmful.ckpt")
    assert not (tmp_path / "harm").exists()


def test_checkpoints_with_objects_can_be_read_by_those_who_say_so(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "path": Path("a")}, tmp_path / "objects.ckpt")
    assert WholeCheckpoints().load_checkpoint(tmp_path / "objects.ckpt", weights_only=False)["path"] == Path("a")
