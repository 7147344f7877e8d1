"""What is installed: one package, which collides with no project's folders and needs no more than its extras."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FOLDERS = ("callbacks", "datamodules", "lightning_modules")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source]
    subprocess.run(command, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like site-packages in which nothing else is."""
    folder = tmp_path_factory.mktemp("site-packages")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def environment(folder: Path, *names: str, without: str = "") -> Path:
    """Fills a folder with these distributions and what they require, as links to those of this environment."""
    waiting, done = list(names), {without}
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in done:
            continue
        done.add(name)
        found = metadata.distribution(name)
        needed = list(map(Requirement, found.requires or []))
        waiting += [need.name for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})]
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (folder / top).exists():
                (folder / top).symlink_to(found.locate_file(top))
    return folder


CORE = ("torch", "torchmetrics", "numpy", "pooch", "tqdm", "safetensors")


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("core"), *CORE, "pytorch-lightning")


def run(code: str, *paths: Path, cwd: Path) -> str:
    """What a program prints in an environment of these folders alone."""
    program = f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n{textwrap.dedent(code)}"
    command = [sys.executable, "-S", "-W", "ignore", "-c", program]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def test_the_wheel_holds_one_package_of_all_library_folders(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"sparse_lightning"}
    sources = {path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    assert {f"sparse_lightning/{path.as_posix()}" for path in sources} <= set(names)
    assert {f"sparse_lightning/{folder}/py.typed" for folder in FOLDERS} <= set(names)


def test_no_more_is_required_than_the_core_needs(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [said] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    required = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", archive.read(said).decode(), re.MULTILINE)
    assert sorted(required) == sorted(CORE)


TRAIN = """
    import callbacks
    import pytorch_lightning as pl
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
    from sparse_lightning.callbacks import RigL, read_masks
    from sparse_lightning.callbacks.sparsity import prune
    from sparse_lightning.lightning_modules import SparseClassifier
    from sparse_lightning.lightning_modules.sparse_inference import compile_sparse, load_sparse, save_sparse

    assert callbacks.OWN == "of the project"
    data = DataLoader(TensorDataset(torch.randn(32, 20), torch.arange(32) % 2), batch_size=8)
    network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 2))
    rigl = RigL(0.8)
    trainer = pl.Trainer(
        max_epochs=2, callbacks=[rigl], accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False,
    )
    trainer.fit(SparseClassifier(network, 2, optimizer=lambda p: torch.optim.SGD(p, lr=0.1)), data)
    trainer.save_checkpoint("last.ckpt")
    masks = {name.removeprefix("network."): mask for name, mask in rigl.masks.items()}
    save_sparse(network, "net.safetensors", masks=masks)
    pruned = prune(nn.Linear(9, 9), 0.5)
    again = load_sparse("net.safetensors", nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 2)))
    image = torch.randn(3, 20)
    assert torch.allclose(compile_sparse(again.eval(), image)(image), network(image), atol=1e-5)
    print(round(read_masks("last.ckpt").sparsity, 2), read_masks("net.safetensors").digest(), pruned.sparsity > 0.4)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a callbacks folder of its own."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "callbacks").mkdir()
    (folder / "callbacks" / "__init__.py").write_text('OWN = "of the project"\n')
    return folder


def test_it_works_beside_a_project_with_callbacks_of_its_own(
    installed: Path, project: Path, core: Path, tmp_path: Path
) -> None:
    whole = environment(tmp_path, "numba")
    sparsity, digest, pruned = run(TRAIN, project, installed, core, whole, cwd=project).split()
    assert (sparsity, pruned) == ("0.8", "True")
    # what the installed form writes, the checkout reads
    code = "from callbacks import read_masks as m; print(m('net.safetensors').digest(), m('last.ckpt').size)"
    assert run(code, ROOT, core, cwd=project).split() == [digest, str(20 * 32 + 32 * 2)]


def test_it_reads_what_the_checkout_wrote_and_needs_none_of_the_extras(
    installed: Path, project: Path, core: Path
) -> None:
    earlier = ROOT / "tests" / "earlier"
    code = f"""
        from sparse_lightning.callbacks import *
        from sparse_lightning.callbacks.sparsity import hessian
        from sparse_lightning.datamodules import CIFAR10DataModule, MNISTDataModule
        from sparse_lightning.lightning_modules import *
        from sparse_lightning.lightning_modules import networks
        print(read_masks({str(earlier / "static.ckpt")!r}).sparsity > 0.5)
        print(Ticket.read({str(earlier / "ticket.ckpt")!r}).level, RigL.__module__)
        print(*(name for name in {EXTRAS} if name in sys.modules))
    """
    said = run(code, installed, core, cwd=project).split()
    assert said == ["True", "1", "sparse_lightning.callbacks.sparse_training"]


EXTRAS = ("scipy", "numba", "llvmlite", "cv2", "albumentations")
LANCZOS = """import torch
    from sparse_lightning.callbacks.sparsity import lanczos_extremes
    weight = torch.ones(9, requires_grad=True)
    lanczos_extremes(lambda: (weight**3).sum(), {"w": weight})"""
MISSING = {
    "from sparse_lightning.datamodules import LSPDataModule": ("opencv-python-headless", "pose"),
    "from sparse_lightning.datamodules.pose.lsp import read_lsp": ("opencv-python-headless", "pose"),
    "from sparse_lightning.datamodules import ImageNetDataModule": ("opencv-python-headless", "imagenet"),
    "from sparse_lightning.lightning_modules.sparse_inference import compile_sparse": ("numba is", "inference"),
    LANCZOS: ("scipy is", "analysis"),
}


@pytest.mark.parametrize("code", list(MISSING), ids=[extra for _, extra in MISSING.values()])
def test_what_is_missing_is_named_with_its_extra(installed: Path, core: Path, tmp_path: Path, code: str) -> None:
    program = f"try:\n    {code}\nexcept ModuleNotFoundError as error:\n    print(error)"
    said = run(program, installed, core, cwd=tmp_path)
    library, extra = MISSING[code]
    assert said.startswith(library)
    assert said.endswith(f'not installed: pip install "sparse-lightning[{extra}]"')


def test_with_the_other_lightning_alone_it_trains_and_finds_tickets(installed: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="the other distribution of Lightning is not installed")
    alone = environment(
        tmp_path, *CORE, "lightning", without="pytorch-lightning"
    )  # which it requires, and can do without
    code = """
        import lightning as L
        import torch
        from torch import nn
        from torch.utils.data import DataLoader, TensorDataset
        from sparse_lightning.callbacks import GradualPruning, LotteryTicket, RigL, WholeCheckpoints
        from sparse_lightning.callbacks.sparsity import PruningWindow
        from sparse_lightning.lightning_modules import SparseClassifier

        def trainer(callbacks, folder=".", **more):
            return L.Trainer(max_steps=12, max_epochs=-1, callbacks=callbacks, accelerator="cpu", logger=False,
                             enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, **more)

        def module():
            network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 2))
            return SparseClassifier(network, 2, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))

        data = DataLoader(TensorDataset(torch.randn(32, 20), torch.arange(32) % 2), batch_size=8)
        rigl = RigL(0.8)
        trainer([rigl], plugins=[WholeCheckpoints()]).fit(module(), data)
        assert isinstance(rigl, L.Callback)
        lottery = LotteryTicket("lottery", GradualPruning(0.9, window=PruningWindow(2, start=0.0, stop=8)))
        print(round(rigl.masks.sparsity, 2), [round(t.sparsity, 2) for t in lottery.run(module(), data, trainer)])
    """
    assert run(code, installed, alone, cwd=tmp_path).splitlines()[-1] == "0.8 [0.9]"


def test_without_any_lightning_both_are_named(installed: Path, tmp_path: Path) -> None:
    code = """
        try:
            import sparse_lightning.callbacks
        except ModuleNotFoundError as error:
            print(error)
    """
    said = run(code, installed, environment(tmp_path, *CORE), cwd=tmp_path)
    assert said == "Lightning is not installed: pip install pytorch-lightning, or pip install lightning"


def test_a_library_folder_works_under_another_name(core: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "callbacks", tmp_path / "sparse_callbacks", ignore=shutil.ignore_patterns("__pycache__"))
    code = "from sparse_callbacks import RigL; print(RigL.__module__)"
    assert run(code, tmp_path, core, cwd=tmp_path) == "sparse_callbacks.sparse_training"
