"""A download is whole and on the disk before it takes its name."""

import hashlib
import os
from pathlib import Path

import pooch
import pytest

from datamodules.files.downloads import fetch

CONTENT = b"what the server sends"
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def served(monkeypatch):
    def retrieve(url, known_hash, fname, path, progressbar):
        (Path(path) / fname).write_bytes(CONTENT)

    monkeypatch.setattr(pooch, "retrieve", retrieve)


def test_it_replaces_what_was_there_and_leaves_nothing_else(served, tmp_path):
    (tmp_path / "archive").write_bytes(b"old")
    fetch(["url"], MD5, tmp_path / "archive", ValueError("damaged."))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"archive": CONTENT}


def test_what_the_disk_did_not_take_is_not_there(served, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "archive").write_bytes(b"old")
    with pytest.raises(ValueError, match=r"damaged. The download to .* failed: .*No space left on device"):
        fetch(["url"], MD5, tmp_path / "archive", ValueError("damaged."))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"archive": b"old"}


def test_a_right_file_is_not_fetched_again(tmp_path, monkeypatch):
    def retrieve(*arguments, **options):
        raise AssertionError("asked for")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    (tmp_path / "archive").write_bytes(CONTENT)
    fetch(["url"], MD5, tmp_path / "archive", ValueError("damaged."))
