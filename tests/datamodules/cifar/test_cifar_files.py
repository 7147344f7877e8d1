"""Which files the CIFAR data modules accept, and how they get them."""

import errno
import gc
import hashlib
import pickle
import shutil
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pooch
import pytest
import torch
from fakes import cifar_batch, python2_pickle, write_cifar10, write_cifar100

from datamodules import CIFAR10DataModule, CIFAR100DataModule
from datamodules.cifar.official_files import CIFAR10_FILES, CIFARFiles

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(url, *args, **kwargs):
        raise ConnectionError(f"no way to {url}")

    monkeypatch.setattr(pooch, "retrieve", refuse)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server of the fake archive, whose md5 is known; the folder it serves."""
    monkeypatch.undo()
    folder = write_cifar10(tmp_path / "served", archive=True, seed=1)
    md5 = hashlib.md5((folder / ARCHIVE).read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10DataModule, "files", replace(CIFAR10_FILES, md5=md5))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(CIFARFiles, "url", f"http://127.0.0.1:{server.server_port}/{ARCHIVE}")
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()
    gc.collect()  # closes what pooch left open


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def fake(root, **kwargs):
    return CIFAR10DataModule(root, **{"verify": False, "val_size": 10, **kwargs})


def batch(images, labels=None, key="labels"):
    content = {"data": images, key: labels if labels is not None else [0] * len(images)}
    return b"\x80\x02" + python2_pickle(content) + b"."


def assert_refused(root, *words, **kwargs):
    for step in fake(root, **kwargs).prepare_data, fake(root, **kwargs).setup:
        with pytest.raises(ValueError, match="Put the official cifar-10-python.tar.gz into") as error:
            step()
        for word in words:
            assert word in str(error.value)


@pytest.mark.parametrize("archive", [False, True])
def test_folder_and_archive_hold_the_same(tmp_path, archive):
    splits = CIFAR10_FILES.read(write_cifar10(tmp_path, archive=archive), verify=False)
    parts = [pickle.loads(cifar_batch(20, "labels", 10, n), encoding="latin1") for n in range(5)]
    images, labels = splits["train"]
    np.testing.assert_array_equal(images, np.concatenate([p["data"] for p in parts]).reshape(-1, 3, 32, 32))
    assert labels.tolist() == [label for p in parts for label in p["labels"]]
    assert splits["test"][0].shape == (30, 3, 32, 32)


@pytest.mark.parametrize("archive", [False, True])
def test_cifar_100(tmp_path, archive):
    data = CIFAR100DataModule(write_cifar100(tmp_path, archive=archive), verify=False, val_size=20)
    data.prepare_data()
    labels = torch.cat([y for _, y in data.test_dataloader()])
    assert labels.sort().values.tolist() == list(range(100))


def test_files_that_the_folder_lacks_come_from_the_archive(tmp_path):
    write_cifar10(tmp_path, archive=True)
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "test_batch").write_bytes(cifar_batch(7, "labels", 10, 0))
    data = fake(tmp_path)
    data.prepare_data()
    assert len(data.test_dataloader().dataset) == 7
    assert len(data.train_dataloader().dataset) == 90


def test_verify_names_both_md5s(tmp_path):
    write_cifar10(tmp_path)
    assert_refused(tmp_path, "data_batch_1", "md5", CIFAR10_FILES.train["data_batch_1"], "verify=False", verify=True)


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (cifar_batch(20, "labels", 10, 0)[:-3000], "no pickle of arrays"),
        (b"", "no pickle of arrays"),
        (b"\x80\x02cos\nsystem\n(U\x04exittR.", "os.system, which no data need; it was not run"),
        (pickle.dumps([]), "a list, not a dict"),
        (batch(np.zeros((2, 3072), np.uint8), key="fine_labels"), "it has no ['labels'], only"),
        (batch(np.zeros((2, 3071), np.uint8)), "uint8 (2, 3071), not uint8 (N, 3072)"),
        (batch(np.zeros(3072, np.uint8)), "uint8 (3072,), not"),
        (batch(np.zeros((0, 3072), np.uint8)), "0 images"),
        (batch([[0] * 3072]), "list, not uint8"),
        (batch(np.zeros((2, 3072), np.uint8), [1]), "2 images, and int64 (1,) as their labels"),
        (batch(np.zeros((2, 3072), np.uint8), ["a", "b"]), "as their labels"),
        (batch(np.zeros((2, 3072), np.uint8), [3, 10]), "from 3 to 10"),
        (batch(np.zeros((2, 3072), np.uint8), [-1, 9]), "from -1 to 9"),
    ],
)
def test_damaged_files(tmp_path, raw, found):
    path = write_cifar10(tmp_path) / FOLDER / "data_batch_3"
    path.write_bytes(raw)
    assert_refused(tmp_path, str(path), found)
    assert path.read_bytes() == raw


@pytest.mark.parametrize("damage", [lambda packed: packed[: len(packed) // 2], lambda _: b"<html>404</html>"])
def test_damaged_archives(tmp_path, damage):
    path = write_cifar10(tmp_path, archive=True) / ARCHIVE
    path.write_bytes(damage(path.read_bytes()))
    assert_refused(tmp_path, str(path), "is damaged")


def test_an_archive_of_something_else(tmp_path):
    shutil.copy(write_cifar100(tmp_path, archive=True) / "cifar-100-python.tar.gz", tmp_path / ARCHIVE)
    assert_refused(tmp_path, f"{ARCHIVE} holds no data_batch_1, data_batch_2")


def test_missing_files_are_named(tmp_path):
    (write_cifar10(tmp_path) / FOLDER / "data_batch_4").unlink()
    with pytest.raises(FileNotFoundError, match=rf"data_batch_4 missing in {tmp_path / FOLDER}. Put the official"):
        fake(tmp_path).setup()
    with pytest.raises(FileNotFoundError, match="The download to .* failed: .*no way to https://www.cs.toronto"):
        fake(tmp_path).prepare_data()


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("before", [None, b"broken"])
def test_download_fetches_a_missing_or_damaged_archive(tmp_path, served, before):
    root = tmp_path / "new"
    if before:
        root.mkdir()
        (root / ARCHIVE).write_bytes(before)
    data = fake(root)
    data.prepare_data()
    assert [path.name for path in root.iterdir()] == [ARCHIVE]
    assert (root / ARCHIVE).read_bytes() == (served / ARCHIVE).read_bytes()
    assert len(data.train_dataloader().dataset) == 90


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_broken_download_changes_nothing(tmp_path, served):
    (served / ARCHIVE).write_bytes(b"another file")
    root = tmp_path / "new"
    with pytest.raises(FileNotFoundError, match="does not match the known hash"):
        fake(root).prepare_data()
    assert list(root.iterdir()) == []


def test_a_full_disk_leaves_no_partial_file(tmp_path, served, monkeypatch):
    def half(self, url, output_file, *args, **kwargs):
        with open(output_file, "wb") as file:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", half)
    root = tmp_path / "new"
    with pytest.raises(FileNotFoundError, match=r"The download to .*new failed: .*No space left on device"):
        fake(root).prepare_data()
    assert list(root.iterdir()) == []


def test_a_root_that_cannot_be_written(tmp_path, served):
    root = tmp_path / "file"
    root.write_text("not a folder")
    with pytest.raises(FileNotFoundError, match=r"data_batch_1.* missing .*The download to .*file failed: .*Error"):
        fake(root).prepare_data()
