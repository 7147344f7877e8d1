"""The runtimes of a sparse network: SparseModel, and what it is measured against."""

from __future__ import annotations

import copy
import importlib
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.sparse_inference import SparseModel, compile_sparse
from lightning_modules.sparse_inference.graph.trace import leaves
from lightning_modules.sparse_inference.onnx_export import export_onnx

from ...pages.inference_page import EAGER, OURS

CSR = "torch CSR"
Run = Callable[[], Any]


@dataclass
class Subject:
    """A network in eval mode, an input, and a folder for what runtimes read."""

    network: nn.Module
    image: Tensor
    folder: Path

    @cached_property
    def graph(self) -> Path:
        """Return the file of the network as ONNX."""
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision is not installed
        path = self.folder / "network.onnx"
        export_onnx(self.network, path, self.image)
        return path

    @cached_property
    def ours(self) -> SparseModel:
        return compile_sparse(self.network, self.image)


def flattened(output: Any) -> Tensor:
    """Return all outputs in one row."""
    return torch.cat([torch.as_tensor(part).float().flatten() for part in leaves(object, output)])


def relative_error(output: Any, wanted: Tensor) -> float:
    """Return the largest difference from the wanted outputs, divided by the largest of these."""
    return float((flattened(output) - wanted).abs().max() / wanted.abs().max())


def ours(subject: Subject) -> Run:
    return lambda: subject.ours(subject.image)


def eager(subject: Subject) -> Run:
    network: nn.Module = copy.deepcopy(subject.network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return _of_module(network, subject.image.contiguous())


def eager_channels_last(subject: Subject) -> Run:
    if subject.image.dim() != 4:
        raise ValueError("the input has no channels to put last")
    return _of_module(*_channels_last(subject))


def inductor(subject: Subject) -> Run:
    """Compile with torch, channels last, where it is faster; its option ``freezing`` made a ResNet-50 no faster."""
    torch._dynamo.reset()
    network, image = _channels_last(subject)
    return _of_module(torch.compile(network), image)


def _channels_last(subject: Subject) -> tuple[nn.Module, Tensor]:
    if subject.image.dim() != 4:
        return subject.network, subject.image
    network: nn.Module = copy.deepcopy(subject.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, subject.image.to(memory_format=torch.channels_last)


def _of_module(network: Callable[[Tensor], Any], image: Tensor) -> Run:
    def run() -> Any:
        with torch.no_grad():
            return network(image)

    return run


class CSRLayer(nn.Module):
    """A linear layer, or a convolution that is one at each pixel, whose weights torch holds as CSR."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
            self.weight = layer.weight.detach().flatten(1).to_sparse_csr()
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        inputs = x.movedim(1, 0)
        outputs = self.weight @ inputs.flatten(1)
        if self.bias is not None:
            outputs += self.bias[:, None]
        return outputs.view(-1, *inputs.shape[1:]).movedim(0, 1)


def csr(subject: Subject) -> Run:
    """Hold weights as CSR; torch has no sparse convolution, so that those of more than a pixel stay dense."""
    network = nn.Sequential(copy.deepcopy(subject.network))
    layers = {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and _is_sparse_product(layer)
    }
    if not layers:
        raise ValueError("no linear layer or 1x1 convolution has more zeros than not")
    for name, layer in layers.items():
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, CSRLayer(layer))
    return _of_module(network, subject.image)


def _is_sparse_product(layer: nn.Linear | nn.Conv2d) -> bool:
    """Return whether a layer multiplies each pixel by a matrix in which most entries are zeros."""
    if isinstance(layer, nn.Conv2d) and (
        (layer.kernel_size, layer.stride, layer.padding) != ((1, 1), (1, 1), (0, 0)) or layer.groups > 1
    ):
        return False
    return 2 * int(layer.weight.count_nonzero()) < layer.weight.numel()


def onnx_runtime(subject: Subject) -> Run:
    graph, runtime = subject.graph, importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: subject.image.numpy()}
    return lambda: session.run(None, inputs)


def openvino(precision: str) -> Callable[[Subject], Run]:
    def make(subject: Subject) -> Run:
        core = importlib.import_module("openvino").Core()
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ValueError("this processor has no instructions for bf16")
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        request = core.compile_model(subject.graph, "CPU", settings).create_infer_request()
        image = subject.image.numpy()
        return lambda: request.infer([image], share_inputs=True, share_outputs=True).to_tuple()

    return make


def deepsparse(subject: Subject) -> Run:
    make = importlib.import_module("deepsparse").compile_model
    engine = make(str(subject.graph), batch_size=len(subject.image), num_cores=torch.get_num_threads())
    return lambda: engine.run([subject.image.numpy()])


PEERS: Mapping[str, Callable[[Subject], Run]] = {
    OURS: ours,
    EAGER[0]: eager,
    EAGER[1]: eager_channels_last,
    "torch.compile": inductor,
    CSR: csr,
    "ONNX Runtime": onnx_runtime,
    "OpenVINO f32": openvino("f32"),
    "OpenVINO bf16": openvino("bf16"),
    "DeepSparse": deepsparse,
}
