"""An exported network gives what the module does, in the runtime that reads it."""

from __future__ import annotations

from pathlib import Path

import onnxruntime  # type: ignore[import-untyped]
import pytest
import torch
from torch import Tensor, nn

from lightning_modules.sparse_inference import compile_sparse, onnx_export
from lightning_modules.sparse_inference.onnx_export import export_onnx

IMAGE = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)).eval()
    for parameter in made.parameters():
        parameter.data[torch.rand_like(parameter) < 0.9] = 0
    return made


def test_onnx_runtime_gives_the_outputs_of_a_sparse_model(tmp_path: Path) -> None:
    module, path = network(), tmp_path / "folder" / "network.onnx"
    assert export_onnx(compile_sparse(module, IMAGE), path, IMAGE) < 1e-5
    session = onnxruntime.InferenceSession(path)
    [output] = session.run(None, {session.get_inputs()[0].name: IMAGE.numpy()})
    torch.testing.assert_close(torch.from_numpy(output), module(IMAGE).detach(), rtol=1e-4, atol=1e-5)
    assert [file.name for file in path.parent.iterdir()] == ["network.onnx"]
    assert path.stat().st_size > sum(parameter.nbytes for parameter in module.parameters())  # zeros and all


def test_a_graph_that_computes_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(module: nn.Module, inputs: tuple[Tensor], path: Path, **options: object) -> None:
        path.write_bytes(b"graph")

    monkeypatch.setattr(torch.onnx, "export", other)
    monkeypatch.setattr(onnx_export, "_run", lambda _, image: [image[:, 0, 0, :1].repeat(10, 1)])
    with pytest.raises(ValueError, match="outputs of ONNX Runtime differ from the module's by"):
        export_onnx(network(), tmp_path / "network.onnx", IMAGE)
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ImportError, match=r"needs onnxscript: pip install 'sparse-lightning\[onnx\]'"):
        export_onnx(network(), tmp_path / "network.onnx", IMAGE)


def test_a_module_in_train_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="call module.eval"):
        export_onnx(network().train(), tmp_path / "network.onnx", IMAGE)
