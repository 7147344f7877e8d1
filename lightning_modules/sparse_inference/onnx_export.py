"""The export of networks as ONNX graphs, for other runtimes."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .from_callbacks import whole_file
from .graph.trace import leaves
from .model import SparseModel

NEEDED = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4


def export_onnx(module: nn.Module, path: str | Path, example_input: Tensor) -> float:
    """Write a network as an ONNX graph for inputs of one shape, once ONNX Runtime has given the same outputs.

    The graph is dense, with zeros where weights are inactive: the file is as large as that of the dense network, since
    runtimes read no other weights from it. For a small file there is :func:`save_sparse`.

    Args:
        module: a module in eval mode, on the CPU; of a :class:`SparseModel`, the module that it was made of is written.
        path: the file, which is overwritten; it is whole or not there.
        example_input: an input of the shape that the graph will take.

    Returns:
        The largest difference of ONNX Runtime's outputs from the module's, over the largest output.

    Raises:
        ImportError: a package is missing.
        ValueError: the module is in train mode, or outputs differ by more than 1e-4.

    Example:
        >>> export_onnx(network, "pruned.onnx", torch.zeros(1, 3, 224, 224)) < 1e-4  # doctest: +SKIP
        True
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ImportError(f"export_onnx needs {', '.join(missing)}: pip install 'sparse-lightning[onnx]'")
    module = module.module if isinstance(module, SparseModel) else module
    if any(part.training for part in module.modules()):
        raise ValueError("the module is in train mode: call module.eval() first")
    with whole_file(Path(path)) as part:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter uses functions of which torch itself warns
            torch.onnx.export(module, (example_input,), part, external_data=False, verbose=False)
        with torch.no_grad():
            wanted = _numbers([output.numpy() for output in leaves(Tensor, module(example_input))])
        made = _numbers(_run(part, example_input.numpy()))
        difference = float(abs(made - wanted).max() / (abs(wanted).max() or 1.0))
        if not difference <= TOLERANCE:
            raise ValueError(f"outputs of ONNX Runtime differ from the module's by {difference:.1e} of the largest one")
    return difference


def _run(path: Path, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return what ONNX Runtime makes of an image."""
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: image}))


def _numbers(outputs: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return all outputs in one row."""
    return np.concatenate([output.ravel() for output in outputs])
