"""What is installed, and that a copied folder works under another name."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_the_three_library_folders_only(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns(".*", "runs", "data", "build", "*.egg-info", "__pycache__", "wandb")
    shutil.copytree(ROOT, source, ignore=ignore)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        source,
    ]
    subprocess.run(command, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"callbacks", "datamodules", "lightning_modules"}
    for folder in ("callbacks", "datamodules", "lightning_modules"):
        assert f"{folder}/py.typed" in names
    assert "callbacks/sparsity/masks/masks.py" in names


def test_a_library_folder_works_under_another_name(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "callbacks", tmp_path / "sparse_callbacks")
    code = "from sparse_callbacks import RigL; print(RigL.__module__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "sparse_callbacks.sparse_training"
