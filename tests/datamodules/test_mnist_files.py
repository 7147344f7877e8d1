"""Which files MNISTDataModule accepts, and how it gets them."""

import gc
import gzip
import hashlib
import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pooch
import pytest
import torch
from fakes import write_idx, write_mnist

import datamodules.mnist as mnist
from datamodules import MNISTDataModule

REAL = Path(__file__).parents[2] / "data" / "mnist"
IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


@pytest.fixture
def root(tmp_path):
    return write_mnist(tmp_path / "mnist")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(url, *args, **kwargs):
        raise ConnectionError(f"no way to {url}")

    monkeypatch.setattr(pooch, "retrieve", refuse)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A local mirror of the files in the returned folder, and the requests it got."""
    monkeypatch.undo()  # the real pooch.retrieve
    folder, requests = tmp_path / "served", []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    write_mnist(folder, seed=1)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    thread = Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(mnist, "MIRRORS", (url + "gone/", url))
    for name in mnist.MD5:
        digest = hashlib.md5((folder / name).read_bytes()).hexdigest()
        monkeypatch.setitem(mnist.MD5, name, digest)
    yield folder, requests
    server.shutdown()
    thread.join()
    server.server_close()
    gc.collect()  # closes what pooch left open


def fake(root, **kwargs):
    return MNISTDataModule(root, **{"verify": False, "download": False, "val_size": 8, **kwargs})


def assert_refused(data, *words):
    for step in data.prepare_data, data.setup:
        with pytest.raises(ValueError, match="Put the four official files") as error:
            step()
        for word in words:
            assert word in str(error.value)


def content(root):
    return {path.name: path.read_bytes() for path in root.iterdir()}


def test_the_official_files():
    data = MNISTDataModule(REAL, download=False, val_size=0)
    data.prepare_data()
    data.setup("fit")
    train, test = data.train_dataloader().dataset, data.test_dataloader().dataset
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert train.images.float().mean() / 255 == pytest.approx(0.1307, abs=1e-4)


def test_fakes_load_unless_verified(root):
    data = fake(root)
    data.prepare_data()
    data.setup()
    assert len(data.train_dataloader().dataset) == 56
    assert_refused(fake(root, verify=True), IMAGES, "md5", mnist.MD5[IMAGES], "verify=False")


def test_verify_tells_an_official_file_under_a_wrong_name(tmp_path):
    shutil.copy(REAL / TEST_LABELS, tmp_path / LABELS)
    shutil.copy(REAL / IMAGES, tmp_path)
    assert_refused(fake(tmp_path, verify=True), LABELS, f"that of {TEST_LABELS}")


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda packed: packed[: len(packed) // 2], "ended before"),
        (lambda packed: packed[:-20] + bytes(20), ""),
        (lambda _: b"<html>404</html>", "Not a gzipped file"),
        (lambda _: b"", "magic number is 0"),
        (lambda packed: gzip.compress(gzip.decompress(packed)[:-1]), "announces 50176 bytes"),
        (lambda packed: gzip.compress(gzip.decompress(packed) + b"\0"), "announces 50176 bytes"),
        (lambda packed: gzip.compress(gzip.decompress(packed)[:9]), "before its first image"),
    ],
)
def test_damaged_files(root, damage, found, verify):
    path = root / IMAGES
    path.write_bytes(damage(path.read_bytes()))
    assert_refused(fake(root, verify=verify), str(path), found)


def test_labels_in_the_place_of_images_and_back(root):
    (root / LABELS).rename(root / "x")
    shutil.copy(root / IMAGES, root / LABELS)
    assert_refused(fake(root), LABELS, "2051", "2049")
    shutil.copy(root / "x", root / LABELS)
    (root / "x").replace(root / IMAGES)
    assert_refused(fake(root), IMAGES, "2049", "2051")


def test_images_of_the_test_set_in_the_place_of_training(root):
    shutil.copy(root / TEST_IMAGES, root / IMAGES)
    with pytest.raises(ValueError, match=r"32 images, but train-labels.* 64 labels") as error:
        fake(root).setup()
    assert IMAGES in str(error.value)


def test_other_sizes_and_labels(root):
    write_idx(root / TEST_IMAGES, torch.zeros(32, 28, 27, dtype=torch.uint8))
    assert_refused(fake(root), TEST_IMAGES, "28x27")
    write_idx(root / LABELS, torch.arange(64, dtype=torch.uint8) % 11)
    assert_refused(fake(root), LABELS, "label 10")
    write_idx(root / LABELS, torch.zeros(0, dtype=torch.uint8))
    assert_refused(fake(root), LABELS, "before its first label")


def test_missing_file_without_download(root):
    (root / TEST_LABELS).unlink()
    for step in fake(root).prepare_data, fake(root).setup:
        with pytest.raises(FileNotFoundError, match=f"{TEST_LABELS} is missing in root={root}"):
            step()


def test_offline_says_what_is_missing_and_why(root):
    (root / LABELS).unlink()
    with pytest.raises(FileNotFoundError, match="Put the four official files") as error:
        fake(root, download=True).prepare_data()
    for word in (LABELS, str(root), *mnist.MIRRORS):
        assert word in str(error.value)
    assert isinstance(error.value.__cause__, ConnectionError)


def test_offline_keeps_a_damaged_file(root):
    (root / LABELS).write_bytes(b"broken")
    with pytest.raises(ValueError, match=LABELS) as error:
        fake(root, download=True).prepare_data()
    assert isinstance(error.value.__cause__, ConnectionError)
    assert (root / LABELS).read_bytes() == b"broken"


def test_good_files_are_not_downloaded(root):
    fake(root, download=True).prepare_data()
    MNISTDataModule(REAL).prepare_data()


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("verify", [True, False])
def test_download_fetches_what_is_missing_or_damaged(tmp_path, served, verify):
    folder, requests = served
    root = tmp_path / "new" / "mnist"
    data = fake(root, verify=verify, download=True)
    data.prepare_data()
    assert content(root) == content(folder)
    requests.clear()
    (root / IMAGES).write_bytes(b"broken")
    data.prepare_data()
    assert content(root) == content(folder)
    assert set(requests) == {f"/gone/{IMAGES}", f"/{IMAGES}"}  # the first mirror answers 404
    requests.clear()
    data.prepare_data()
    data.setup()
    assert requests == []


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_broken_download_changes_nothing(tmp_path, served):
    folder, _ = served
    root = write_mnist(tmp_path / "old", seed=1)
    (root / IMAGES).write_bytes(b"broken")
    (folder / IMAGES).write_bytes((folder / IMAGES).read_bytes()[:-9])
    before = content(root)
    with pytest.raises(ValueError, match="does not match the known hash") as error:
        fake(root, download=True).prepare_data()
    assert str(root / IMAGES) in str(error.value)
    assert content(root) == before
