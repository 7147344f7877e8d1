"""Weights that FSDP2 shards over two processes, with gloo on the CPU: the same masks as in one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from ddp_fit import PlainModule
from fits import loader, trainer
from fsdp_fit import NAMES, build, fit_method
from methods import METHODS, Method
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.strategies import ModelParallelStrategy
from ranks import launch
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor

from callbacks import HessianSpectrum, MaskOwner, RewindPoint, RigL, TrainingFlops, methods, read_masks
from callbacks.compatibility import check_shards
from callbacks.files.safe_files import read_checkpoint
from callbacks.sparsity import UpdateWindow

SCRIPT = Path(__file__).parents[1] / "fsdp_fit.py"

pytestmark = pytest.mark.xdist_group("fsdp")  # the runs that the tests share are made once


def run(out: Path, scenario: str) -> None:
    done = launch(SCRIPT, [out, scenario], ranks=2)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("fsdp")
    run(out, "methods")
    return [torch.load(out / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_masks_and_weights_equal_those_of_one_process(ranks: list[dict[str, Any]], name: str) -> None:
    single, zero, one = fit_method(name), ranks[0][name], ranks[1][name]
    assert zero["digest"] == one["digest"]
    agreeing = sum(int((mask == single["masks"][key]).sum()) for key, mask in zero["masks"].items())
    assert agreeing >= 0.999 * sum(mask.numel() for mask in zero["masks"].values())
    for key, mask in zero["masks"].items():
        assert mask.sum() == single["masks"][key].sum() or name == "gmp-global", "budgets are exact"
    total = [sum(int(mask.sum()) for mask in run["masks"].values()) for run in (zero, single)]
    assert total[0] == total[1]
    for key, weight in zero["weights"].items():
        assert torch.equal(weight, one["weights"][key])
        torch.testing.assert_close(weight, single["weights"][key], rtol=1e-3, atol=1e-5)
    for key, value in single["flow"].items():
        assert zero["flow"][key] == one["flow"][key] == pytest.approx(value, rel=1e-3)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fsdp")
    run(out, "resume")
    return out


def test_a_resumed_run_equals_a_whole_one(resumed: Path) -> None:
    for rank in range(2):
        for runs in torch.load(resumed / f"rank{rank}.pt").values():
            assert runs["whole"]["digest"] == runs["resumed"]["digest"]
            for key, weight in runs["whole"]["weights"].items():
                assert torch.equal(weight, runs["resumed"]["weights"][key]), key


def test_a_whole_checkpoint_is_read_and_gone_on_with_anywhere(resumed: Path) -> None:
    path = resumed / "rigl.ckpt"
    weights, masks = read_checkpoint(path)["state_dict"], read_masks(path)
    assert masks.sparsity == pytest.approx(0.8, abs=1e-3)
    assert all((weights[name][~mask] == 0).all() for name, mask in masks.items())
    owner = build("rigl")
    trainer([owner], max_epochs=4, max_steps=-1).fit(PlainModule(), loader(), ckpt_path=path)
    assert owner.masks.digest() != masks.digest()


def test_a_checkpoint_in_parts_is_refused_by_name(resumed: Path) -> None:
    with pytest.raises(ValueError, match=r"gmp.ckpt' is a folder.*save_distributed_checkpoint=False"):
        read_masks(resumed / "gmp.ckpt")


WORKING = {*NAMES, "rigl-lr", "rigl-steps-too", "rigl-inverted", "rigl-accumulates"}


@pytest.mark.parametrize("method", [method for method in METHODS if method.name not in WORKING], ids=str)
def test_methods_that_need_whole_weights_are_refused_by_name(method: Method) -> None:
    owner = method.build()
    fitted = trainer([owner], strategy=ModelParallelStrategy(), devices=1)
    with pytest.raises(ValueError, match=rf"{type(owner).__name__} does not support ModelParallelStrategy \(FSDP2\)"):
        owner.setup(fitted, PlainModule(), "fit")


def test_a_method_of_ones_own_may_say_that_it_does_not_work_on_shards() -> None:
    class Own(methods.RigL):
        works_on_shards = False

    fitted = trainer([], strategy=ModelParallelStrategy(), devices=1)
    MaskOwner(methods.RigL()).setup(fitted, PlainModule(), "fit")
    with pytest.raises(ValueError, match="MaskOwner does not support ModelParallelStrategy"):
        MaskOwner([methods.RigL(include="*0.weight"), Own(exclude="*0.weight")]).setup(fitted, PlainModule(), "fit")


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[DeviceMesh]:
    dist.init_process_group("gloo", rank=0, world_size=1, init_method=f"file://{tmp_path}/store")
    yield init_device_mesh("cpu", (1, 1), mesh_dim_names=("data_parallel", "tensor_parallel"))
    dist.destroy_process_group()


@pytest.fixture
def sharded(mesh: DeviceMesh) -> PlainModule:
    module = PlainModule()
    fully_shard(module.network, mesh=mesh["data_parallel"])
    return module


def test_weights_of_tensor_parallelism_are_refused_by_name(mesh: DeviceMesh) -> None:
    weight = distribute_tensor(torch.zeros(4, 4), mesh, [Shard(0), Shard(1)])
    with pytest.raises(ValueError, match=r"'fc.weight' is spread over a mesh of 2 dimensions: shard it over data-para"):
        check_shards({"fc.weight": weight}, [])


def test_averages_of_shards_are_refused_by_name(sharded: PlainModule) -> None:
    with pytest.raises(ValueError, match="EMAWeightAveraging does not support weights that are sharded"):
        check_shards(dict(sharded.named_parameters()), [EMAWeightAveraging()])


def test_gradients_averaged_over_steps_are_refused_with_shards(sharded: PlainModule) -> None:
    rigl = RigL(window=UpdateWindow(every=4), gradient_steps=3)
    fitted = trainer([rigl])
    rigl.on_fit_start(fitted, sharded)
    with pytest.raises(ValueError, match="gradient_steps is 3, but the weights are sharded"):
        rigl.on_train_start(fitted, sharded)


@pytest.mark.parametrize(
    "callback", [HessianSpectrum(at_steps=[0]), TrainingFlops(), RewindPoint(3, path="x.ckpt")], ids=lambda c: type(c)
)
def test_callbacks_that_need_whole_weights_are_refused_by_name(sharded: PlainModule, callback: pl.Callback) -> None:
    with pytest.raises(ValueError, match="does not support weights that are sharded over processes"):
        callback.on_train_start(trainer([callback]), sharded)
