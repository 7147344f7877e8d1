"""Files of torch: read without executing them, and refused in one line that names the file when they are damaged."""

from __future__ import annotations

import io
import os
import random
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from callbacks import read_masks, read_spectrum
from callbacks.files.safe_files import read_checkpoint, whole_file, write_whole_text


def content(*, zipped: bool) -> bytes:
    file, state = io.BytesIO(), {"a": torch.ones(3), "b": torch.zeros(2, 2, dtype=torch.int64)}
    torch.save({"state_dict": state, "list": [1, 2.5, None]}, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def refusal(read: Callable[[Path], object], path: Path) -> str | None:
    """What a reader says of a file that it refuses."""
    try:
        read(path)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_any_damage_is_said_in_one_line_that_names_the_file(tmp_path: Path, zipped: bool) -> None:
    path, good, generator = tmp_path / "bad.ckpt", content(zipped=zipped), random.Random(0)
    for _ in range(150):
        damaged = bytearray(good)
        for _ in range(generator.choice([1, 2, 5])):
            damaged[generator.randrange(len(good))] = generator.randrange(256)
        path.write_bytes(damaged)
        for read in read_checkpoint, read_masks, read_spectrum:
            said = refusal(read, path)
            assert said is None or (str(path) in said and "\n" not in said)


def write_half(path: Path, error: type[BaseException]) -> None:
    with whole_file(path) as part:
        part.write_text("half")
        raise error


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file"
    write_whole_text("first", path)
    for error in ValueError, KeyboardInterrupt:
        with pytest.raises(error):
            write_half(path, error)
        assert [found.name for found in path.parent.iterdir()] == ["file"]
    assert path.read_text() == "first"


def test_several_processes_may_write_one_file(tmp_path: Path) -> None:
    with whole_file(tmp_path / "file") as part:
        write_whole_text("another's", tmp_path / "file")
        part.write_text("ours")
    assert (tmp_path / "file").read_text() == "ours"
    assert len(list(tmp_path.iterdir())) == 1


def test_no_bit_of_a_checkpoint_changes_in_silence(tmp_path: Path) -> None:
    path, good, generator = tmp_path / "bad.ckpt", content(zipped=True), random.Random(0)
    expected = repr(torch.load(io.BytesIO(good), weights_only=True))
    for _ in range(300):
        damaged = bytearray(good)
        damaged[generator.randrange(len(good))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        assert refusal(read_checkpoint, path) or repr(read_checkpoint(path)) == expected


def test_a_bit_of_a_weight_is_seen(tmp_path: Path) -> None:
    path, weights = tmp_path / "bad.ckpt", torch.arange(1000.0)
    torch.save({"state_dict": {"weight": weights}}, path)
    damaged = bytearray(path.read_bytes())
    damaged[damaged.find(weights.numpy().tobytes()) + 10] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"bad.ckpt' cannot .* it is damaged: its record 'bad/data/0' is not"):
        read_checkpoint(path)


def test_without_checksums_of_torch_nothing_can_be_seen_and_nothing_is_refused(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"state_dict": {"weight": torch.ones(3)}}, tmp_path / "good.ckpt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_checkpoint(tmp_path / "good.ckpt")["state_dict"]["weight"], torch.ones(3))


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.zeros(1).expand(2**20, 2**15), r"\(1048576, 32768\), more than a file of \d+ bytes can be of"),
        (torch.empty(3, 5, device="meta"), r"\(3, 5\) on the meta device"),
    ],
    ids=["strides of 0", "meta"],
)
def test_a_tensor_that_the_file_cannot_hold_is_refused(tmp_path: Path, tensor: Tensor, said: str) -> None:
    torch.save({"state_dict": {}, "callbacks": [{"of": (tensor,)}]}, tmp_path / "huge.ckpt")
    with pytest.raises(ValueError, match=f"huge.ckpt' .*{said}"):
        read_checkpoint(tmp_path / "huge.ckpt")


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(10**6)}}, tmp_path / "good.ckpt")
    bad = zipfile.ZipFile(tmp_path / "bad.ckpt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "good.ckpt") as good, bad:
        for record in good.infolist():
            bad.writestr(record.filename, good.read(record))
    with pytest.raises(ValueError, match=r"bad.ckpt' .* is compressed, which torch.save never does"):
        read_checkpoint(tmp_path / "bad.ckpt")


def test_what_a_killed_process_left_of_a_file_is_removed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    with whole_file(tmp_path / "file") as part:
        part.touch()
    left = tmp_path / part.name.replace(f"-{os.getpid()}-", f"-{process.pid}-")
    left.write_text("half")
    others = [tmp_path / f"file.00000000-{process.pid}-1.part", tmp_path / "another.part", tmp_path / "file.x.part"]
    for other in others:
        other.touch()
    write_whole_text("whole", tmp_path / "file")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "file", *others]), "on another machine it may be alive"


def test_a_file_system_that_cannot_sync_folders_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole_text("whole", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "whole"


def test_threads_that_write_one_file_leave_one_of_theirs(tmp_path: Path) -> None:
    begin = threading.Barrier(4)

    def write(number: int) -> None:
        begin.wait()
        for _ in range(20):
            with whole_file(tmp_path / "file") as part, part.open("w") as file:
                for _ in range(100):
                    file.write(str(number))
                    file.flush()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert (tmp_path / "file").read_text() in [100 * str(number) for number in range(4)]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
