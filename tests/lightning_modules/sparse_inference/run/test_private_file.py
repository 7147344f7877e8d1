"""Files that others can have written are not read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_modules.sparse_inference.run.private_file import read_private, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "folder" / "file"
    write_private(path, b"ours")
    return path


@pytest.fixture
def of_another(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a path belong to another user."""

    def change(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, 4321, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 4321)

    return change


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_what_is_written_is_the_users_alone(tmp_path: Path, umask: int) -> None:
    path, before = tmp_path / "folder" / "file", os.umask(umask)
    try:
        write_private(path, b"first")
        write_private(path, b"second")
    finally:
        os.umask(before)
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)
    assert read_private(path) == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_what_others_may_only_read_is_read(path: Path) -> None:
    path.parent.chmod(0o755)
    path.chmod(0o644)
    assert read_private(path) == b"ours"


def test_what_is_not_there_is_not_found(path: Path) -> None:
    for missing in (path.with_name("other"), path.parent / "more" / "file"):
        with pytest.raises(FileNotFoundError):
            read_private(missing)


@pytest.mark.parametrize("rights", [0o777, 0o1777, 0o720, 0o702])
def test_a_folder_or_file_that_others_may_write_to(path: Path, rights: int) -> None:
    path.parent.chmod(rights)
    for use in (read_private, lambda path: write_private(path, b"ours")):
        with pytest.raises(PermissionError, match=f"others may write to .*folder', of mode {rights:o}: run chmod -R"):
            use(path)
    path.parent.chmod(0o700)
    path.chmod(rights)
    with pytest.raises(PermissionError, match=f"others may write to .*file', of mode {rights:o}: run chmod -R"):
        read_private(path)


@pytest.mark.parametrize("which", ["folder", "file"])
def test_a_folder_or_file_of_another_user(path: Path, of_another: Callable[[Path], None], which: str) -> None:
    of_another(path if which == "file" else path.parent)
    with pytest.raises(PermissionError, match=f"{which if os.geteuid() == 0 else 'folder'}' belongs to user"):
        read_private(path)


def test_links_and_pipes_are_not_followed(path: Path) -> None:
    real = path.with_name("real")
    path.rename(real)
    path.symlink_to(real)
    with pytest.raises(PermissionError, match="file' is a symbolic link, which is not followed"):
        read_private(path)
    write_private(path, b"new")
    assert (read_private(path), read_private(real)) == (b"new", b"ours")
    link = path.parent.with_name("link")
    link.symlink_to(path.parent)
    for use in (read_private, lambda path: write_private(path, b"ours")):
        with pytest.raises(PermissionError, match="link' is a symbolic link, which is not followed"):
            use(link / path.name)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(PermissionError, match="is no file"):
        read_private(path)


def test_a_second_name_of_a_file_keeps_its_content(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"other")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    for name in (path, part):
        name.unlink(missing_ok=True)
        name.hardlink_to(other)
    write_private(path, b"new")
    assert (path.read_bytes(), other.read_bytes(), part.exists()) == (b"new", b"other", False)


def test_nothing_is_left_of_a_file_that_cannot_be_written(path: Path) -> None:
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="file"):
        write_private(path, b"new")
    assert list(path.parent.iterdir()) == [path]
