"""The kernels' file: later processes need no numba, and what is not whole is compiled anew."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lightning_modules.sparse_inference.kernels import compile_kernels, processor
from lightning_modules.sparse_inference.kernels import operations as o
from lightning_modules.sparse_inference.kernels.machine_code import Run
from lightning_modules.sparse_inference.run import kernel_cache

ROOT = Path(__file__).parents[4]


@pytest.fixture
def whole() -> Path:
    """A file of compiled kernels."""
    kernel_cache.load_kernels(4)
    return kernel_cache.folder() / f"{kernel_cache.key(4)}.kernels"


@pytest.fixture
def compiled(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The widths that were compiled, in a process that has loaded nothing; compiling is to take what there is."""
    code, widths = kernel_cache.read(whole), list[int]()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "some" / "folder"))
    monkeypatch.setattr(kernel_cache, "_loaded", {})
    monkeypatch.setattr(compile_kernels, "compile_kernels", lambda width: widths.append(width) or code)
    return widths


def run(kernel: Run) -> None:
    """One operation whose task another thread does, while this one waits and steps aside."""
    operations, counters = np.zeros(1, o.OPERATION), np.zeros(3 * 8, np.int64)
    operations["tasks"] = counters[8] = counters[16] = 1  # both threads find it taken
    timer = threading.Timer(0.05, lambda: counters.__setitem__(0, 1))
    timer.start()
    call = np.array([operations.ctypes.data, 1, 0, counters.ctypes.data, 0, 1, 0, 0, 1, 0, 0])
    kernel(call.ctypes.data)
    assert counters[0] == 1
    timer.join()


def test_it_is_compiled_once_and_then_read(compiled: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        run(kernel_cache.load_kernels(4))
        monkeypatch.setattr(kernel_cache, "_loaded", {})
    assert compiled == [4]
    kernel_cache.load_kernels(8)
    assert compiled == [4, 8]
    assert len(list(kernel_cache.folder().iterdir())) == 2


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:9], lambda b: b[:40] + b"?" + b[41:], bytes.upper])
def test_a_file_that_is_not_whole_is_written_anew(
    compiled: list[int], damage: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel_cache.load_kernels(4)
    [path] = kernel_cache.folder().iterdir()
    good = path.read_bytes()
    path.write_bytes(damage(good))
    monkeypatch.setattr(kernel_cache, "_loaded", {})
    run(kernel_cache.load_kernels(4))
    assert compiled == [4, 4]
    assert path.read_bytes() == good


def test_other_code_or_another_machine_has_another_file(
    compiled: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = {kernel_cache.key(4), kernel_cache.key(8)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processor, "NAME", "another")
        names.add(kernel_cache.key(4))
    monkeypatch.setenv("NUMBA_OPT", "0")
    names.add(kernel_cache.key(4))
    assert len(names) == 4
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert kernel_cache.key(4) in names, "where it is kept does not count"


def test_nowhere_to_keep_it_is_said(compiled: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match=r"compiles them anew.*file.*set NUMBA_CACHE_DIR"):
        run(kernel_cache.load_kernels(4))


def test_what_others_may_write_is_not_used(compiled: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    kernel_cache.load_kernels(4)
    folder = kernel_cache.folder()
    [path] = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    for opened, rights in (folder, 0o777), (path, 0o666):
        before = opened.stat().st_mode
        opened.chmod(rights)
        path.write_bytes(b"what somebody else has put there")
        monkeypatch.setattr(kernel_cache, "_loaded", {})
        with pytest.warns(UserWarning, match=f"anew .others may write to '{opened}'.*chmod.*set NUMBA_CACHE_DIR"):
            run(kernel_cache.load_kernels(4))
        assert path.read_bytes() == b"what somebody else has put there"
        opened.chmod(before)
    assert compiled == [4, 4, 4]


SCRIPT = """
import sys, torch
from lightning_modules.sparse_inference import SparseModel
layer = torch.nn.Linear(40, 30).eval()
image = torch.randn(2, 40)
assert torch.allclose(SparseModel(layer, 4)(image), layer(image), atol=1e-5)
assert not {"numba", "callbacks"} & set(sys.modules)
from lightning_modules.sparse_inference import *
assert "numba" not in sys.modules and save_sparse.__module__ == "callbacks.packed.writer"
"""


def test_a_process_that_finds_it_does_without_numba_and_callbacks(whole: Path) -> None:
    paths = {"NUMBA_CACHE_DIR": str(whole.parent), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=os.environ | paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_its_name_knows_all_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(compile_kernels.__file__).parent == kernel_cache.SOURCES
    sources = shutil.copytree(kernel_cache.SOURCES, tmp_path / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    keys = {kernel_cache.key(4)}
    monkeypatch.setattr(kernel_cache, "SOURCES", sources)
    assert kernel_cache.key(4) in keys
    files = sorted(sources.iterdir())
    for source in files:
        text = source.read_text()
        assert not re.search(r"^\s*(from \.\.|(from|import) lightning_modules)", text, re.MULTILINE), source
        source.write_text(f"{text}\n")
        keys.add(kernel_cache.key(4))
    assert len(keys) == 1 + len(files)


def test_without_a_home_nothing_is_kept_and_that_is_said(
    compiled: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object) -> None:
        raise KeyError("uid not found")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.warns(UserWarning, match="cannot be kept.*no folder for caches.*HOME.*set NUMBA_CACHE_DIR"):
        kernel_cache.load_kernels(4)
    assert not list(tmp_path.iterdir())
