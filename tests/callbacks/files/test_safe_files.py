"""Files of torch: read without executing them, and refused in one line that names the file when they are damaged."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

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
    with whole_file(tmp_path / "file", by_several=True) as part:
        write_whole_text("another's", tmp_path / "file")
        part.write_text("ours")
    assert (tmp_path / "file").read_text() == "ours"
    assert len(list(tmp_path.iterdir())) == 1
