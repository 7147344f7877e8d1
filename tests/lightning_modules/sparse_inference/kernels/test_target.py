"""Where the settings of numba name a processor that the kernels do not fit, networks run in torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import config

from lightning_modules.sparse_inference.kernels import processor, target

PACKAGE = Path(processor.__file__).parents[2]

SCRIPT = """
import sys, types, warnings
import torch
package = sys.modules["lightning_modules"] = types.ModuleType("lightning_modules")
package.__path__ = [sys.argv[1]]  # without Lightning, which takes longer to import than all else
from lightning_modules.sparse_inference import compile_sparse
from lightning_modules.sparse_inference.kernels import processor
processor.AVX512 = True  # as on a processor that has it
layer, image = torch.nn.Linear(40, 30).eval(), torch.randn(2, 40)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    fast = compile_sparse(layer, image, vector_width=16)
[notice] = said
print(notice.message)
assert fast.reasons()[0] in str(notice.message)
assert torch.equal(fast(image), layer(image))
assert str(fast.report()).endswith(fast.reasons()[0])
"""


def test_a_network_runs_in_torch_where_llvm_would_end_the_process(tmp_path: Path) -> None:
    settings = {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_CPU_NAME": "generic"}
    command = [sys.executable, "-c", SCRIPT, str(PACKAGE)]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    assert line.startswith("the network runs in torch: no kernels can be compiled")
    assert "NUMBA_CPU_NAME=generic" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("+sse2" not in processor.FEATURES, reason="names of processors are those of x86")
@pytest.mark.parametrize(
    ("name", "features", "width"),
    [
        (None, None, processor.widest_vector()),
        ("nehalem", None, processor.widest_vector()),
        ("generic", "", 4),
        ("nehalem", "", 4),
        (None, "-avx", 4),
        ("haswell", "", 8),
        ("skylake-avx512", "-avx512f", 8),
        ("skylake-avx512", "", 16),
        ("skylake-avx512", "+prefer-256-bit", 16),
    ],
)
def test_the_width_of_vectors_is_that_of_llvm(
    name: str | None, features: str | None, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CPU_NAME", name)
    monkeypatch.setattr(config, "CPU_FEATURES", features)
    assert target.target_width() == width


@pytest.mark.parametrize(
    ("here", "there", "fit"), [(16, 4, [4]), (16, 8, [4, 8]), (16, 16, [4, 8, 16]), (8, 8, [4, 8, 16]), (8, 16, [])]
)
def test_which_kernels_fit(here: int, there: int, fit: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Wider ones than those of this machine are compiled as several of its own."""
    monkeypatch.setattr(target, "widest_vector", lambda: here)
    monkeypatch.setattr(target, "target_width", lambda: there)
    for width in (4, 8, 16):
        if width in fit:
            target.check_target(width)
        else:
            with pytest.raises(processor.UnfitTargetError, match=f"have {here} floats, .* have {there} .*remove these"):
                target.check_target(width)
