"""The benches of sparse inference on tiny networks: they run, agree with torch and say what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fakes import write_mnist
from torch import nn

from experiments.bench.command import main
from experiments.bench.inference import first_call, footprint, peers, sparse_trained
from experiments.bench.inference.networks import sparse_network, sparsity_of
from experiments.cli import main as experiments
from experiments.run.rows import read_rows

ROOT = Path(__file__).parents[3]
LENET = ["sparse-inference", "--network", "LeNet5", "--input", "1", "28", "28", "--rounds", "1", "--json", "--peers"]
LAYERS = ("conv1", "conv2", "fc1", "fc2", "fc3")
OTHERS = ["eager torch, channels last", "torch CSR", "ONNX Runtime", "OpenVINO f32", "OpenVINO bf16"]


@pytest.mark.long  # half a minute for the libraries of others; test_onnx_export.py compares ONNX Runtime
def test_all_runtimes_give_the_outputs_of_torch(tmp_path: Path) -> None:
    """In a process of their own, since each brings threads and libraries."""
    command = [*LENET, *OTHERS, "--batch", "2", "--results", str(tmp_path / "rows.csv")]
    run = [sys.executable, "-m", "experiments", "bench", *command]
    printed = subprocess.run(run, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    [found] = json.loads(printed)["cases"]
    assert found["case"] == {"network": "LeNet5", "sparsity": 0.9, "batch": 2, "image": [1, 28, 28]}
    assert set(found["timings"]) | set(found["missing"]) == {"SparseModel", "eager torch", *OTHERS}
    assert set(found["missing"]) <= {"OpenVINO bf16"}  # not every processor has it
    for name, timing in found["timings"].items():
        assert 0 < timing["low"] <= timing["ms"] <= timing["high"]
        assert timing["error"] < (0.1 if name == "OpenVINO bf16" else 1e-4)
    assert [layer["layer"] for layer in found["report"]["layers"]] == [f"{name}.weight" for name in LAYERS]
    rows = read_rows(tmp_path / "rows.csv")
    assert [row["what"] for row in rows] == list(found["timings"])
    assert {row["seed"] for row in rows} == {"0"}
    assert "onnxruntime" in rows[0]["versions"]


def test_what_is_missing_or_fails_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(peers.Subject, "graph", Path("network.onnx"))
    monkeypatch.setattr(torch, "compile", _no_compiler)
    main([*(word for word in LENET if word != "--json"), "DeepSparse", "torch.compile"])
    printed = capsys.readouterr().out
    assert "DeepSparse: No module named 'deepsparse'" in printed
    assert "torch.compile: there is no C++ compiler" in printed
    assert "fc2.weight" in printed


def _no_compiler(network: nn.Module, **options: Any) -> nn.Module:
    raise RuntimeError("there is no C++ compiler")


def test_deepsparse_is_measured_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compile_model(graph: str, *, batch_size: int, num_cores: int) -> SimpleNamespace:
        assert (graph, batch_size, num_cores) == ("network.onnx", 1, torch.get_num_threads())
        network = sparse_network("LeNet5", 0.9, 0).requires_grad_(False)
        return SimpleNamespace(run=lambda arrays: [network(torch.from_numpy(arrays[0])).numpy()])

    monkeypatch.setattr(peers.Subject, "graph", Path("network.onnx"))
    monkeypatch.setitem(sys.modules, "deepsparse", SimpleNamespace(compile_model=compile_model))
    main([*LENET, "DeepSparse"])
    [found] = json.loads(capsys.readouterr().out)["cases"]
    assert found["timings"]["DeepSparse"]["error"] == 0


def test_a_csr_layer_gives_what_a_dense_one_does() -> None:
    torch.manual_seed(0)
    for layer, x in ((nn.Linear(5, 3), torch.randn(4, 5)), (nn.Conv2d(5, 3, 1, bias=False), torch.randn(4, 5, 2, 3))):
        layer.weight.data[layer.weight < 0] = 0
        torch.testing.assert_close(peers.CSRLayer(layer)(x), layer(x))


def test_random_masks_leave_the_first_layer_dense_and_outputs_as_large() -> None:
    dense, sparse = (sparse_network("ResNet20", sparsity, 0) for sparsity in (0.0, 0.8))
    assert bool(sparse.get_parameter("conv1.weight").all())
    assert sparsity_of(sparse) == pytest.approx(0.8, abs=0.01)
    with torch.no_grad():
        small, large = sorted(float(network(torch.ones(2, 3, 32, 32)).std()) for network in (dense, sparse))
    assert large < 3 * small


@pytest.mark.parametrize("more", [["--batch", "0"], ["--rounds", "0"], ["--checkpoint", "last.ckpt"]])
def test_arguments_without_sense_are_refused(more: list[str]) -> None:
    with pytest.raises(ValueError, match="1 or more|choose one"):
        main([*LENET, *more])


def test_files_are_close_to_the_least_possible() -> None:
    found = footprint.measure_files(sparse_network("LeNet300100", 0.9, 0))
    sizes = {what: value for (what, unit), value in found.items() if unit == "MB"}
    assert sizes["save_sparse"] < 1.1 * sizes["least possible, values and entropy of the masks"]
    assert sizes["save_sparse, fp16"] < 0.8 * sizes["save_sparse"] < sizes["state_dict on disk"]
    assert found["load_sparse", "s"] > 0


def test_the_first_call_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    first_call.main(["Linear", "0.9", "0", "1024"])
    assert set(json.loads(capsys.readouterr().out)) == {"import", "compile_sparse with its first call", "second call"}


@pytest.mark.long
def test_the_second_process_finds_compiled_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "STARTS", 1)
    found = footprint.time_starts("Linear", 0.9, [1024], 0)
    empty, filled = (found[f"compile_sparse with its first call, {state} cache", "s"] for state in ("empty", "filled"))
    assert filled < empty


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a LeNet-5 trained for two steps."""
    folder = tmp_path_factory.mktemp("run")
    write_mnist(folder / "data")
    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patched.chdir(folder)
        patched.setenv("WANDB_MODE", "disabled")
        more = ["--trainer.max_steps=2", "--data.init_args.verify=false", "--data.init_args.root=data"]
        experiments(["fit", f"--config={ROOT / 'experiments/configs/mnist/lenet5_rigl.yaml'}", *more])
    [path] = folder.rglob("*.ckpt")
    return path


def test_a_trained_network_has_its_score_before_and_after(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, rows = str(checkpoint.parents[4] / "data"), tmp_path / "rows.csv"
    main(["sparse-trained", str(checkpoint), "--data", data, "--rounds", "1", "--results", str(rows)])
    [row] = read_rows(rows)
    assert list(row) == sparse_trained.COLUMNS
    assert (row["config"], row["data"], row["steps"], row["sparsity"]) == ("lenet5_rigl", "MNIST", "2", "0.950")
    assert (row["score"], row["test_images"]) == ("test/acc", "32")
    assert row["sparse_score"] == row["dense_score"]
    assert int(row["sparse_bytes"]) < int(row["dense_bytes"]) / 5
    assert f"test/acc {row['dense_score']} dense" in capsys.readouterr().out
    main(["sparse-inference", "--checkpoint", str(checkpoint), "--data", data, "--rounds", "1", "--peers", "--json"])
    [found] = json.loads(capsys.readouterr().out)["cases"]
    assert found["case"]["network"] == "lenet5_rigl"
    assert found["case"]["image"] == [1, 28, 28]
