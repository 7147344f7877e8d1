"""The translation of calls of torch to layers that kernels exist for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .arguments import Arguments, NoKernelError
from .layers import (
    Affine,
    Channels,
    Concatenation,
    Convolution,
    Fallback,
    Flatten,
    Layer,
    Mean,
    Pool,
    Resize,
    channel_shape,
    is_map,
)
from .trace import Call, Trace, Value, leaves, replace

aten = torch.ops.aten


def translate(traced: Trace, parameters: Mapping[int, str]) -> list[Layer]:
    """Return the layers of a trace; a call without a kernel becomes a :class:`Fallback`.

    Args:
        traced: the trace of a network.
        parameters: the names of the network's parameters, by the address of their data.
    """
    used = Counter(value for call in traced.calls for value in call.inputs)
    layers: list[Layer] = []
    for call in traced.calls:
        try:
            layers += _translate_call(call, traced, parameters, used)
        except NoKernelError as error:
            reason = f"{_name_of_call(call, parameters)}: {error}"
            layers.append(Fallback(call.outputs[0], _with_own_constants(call), reason))
    return layers


def _with_own_constants(call: Call) -> Call:
    """Return a call with copies of its weights as they are now, as kernels have them: the module may be trained on."""
    arguments, keywords = replace((call.arguments, call.keywords), Tensor, lambda constant: constant.detach().clone())
    return Call(call.function, arguments, keywords, call.outputs)


def _name_of_call(call: Call, parameters: Mapping[int, str]) -> str:
    """Return the name of an operator, with that of the parameter that it takes, if any."""
    given = (parameters.get(tensor.data_ptr()) for tensor in leaves(Tensor, (call.arguments, call.keywords)))
    return next((f"{name}, {call.function}" for name in given if name), str(call.function))


def _translate_call(call: Call, traced: Trace, parameters: Mapping[int, str], used: Counter[Value]) -> list[Layer]:
    """Return the layers of a call; ``used`` counts the calls that read a value."""
    packet = call.function.overloadpacket
    if packet not in _TRANSLATIONS:
        raise NoKernelError("there is no kernel for it")
    images = traced.shapes[0][0]
    for value in (*call.inputs, call.outputs[0]):
        if not is_map(traced.shapes[value.number], traced.dtypes[value.number], images):
            raise NoKernelError(f"a tensor of shape {traced.shapes[value.number]}")
    if packet not in _SEVERAL_OUTPUTS and any(used[output] for output in call.outputs[1:]):
        raise NoKernelError("its second output is used")
    arguments = {a.name: a.default_value for a in call.function._schema.arguments if a.has_default_value()}
    arguments.update(zip((a.name for a in call.function._schema.arguments), call.arguments, strict=False))
    arguments.update(call.keywords)
    shapes = {value: traced.shapes[value.number] for value in (*call.inputs, *call.outputs)}
    return _TRANSLATIONS[packet](Arguments(call, arguments, shapes, parameters))


def _convolution(a: Arguments) -> list[Layer]:
    a.require(transposed=False)
    source, weight = a.value("input"), a.constant("weight")
    geometry = (a.pair("stride"), a.pair("padding"), a.pair("dilation"), a["groups"])
    bias = a.optional("bias", len(weight), 0.0)
    return [Convolution(a.output, source, _name_of_weight(a, a["weight"]), weight, bias, *geometry)]


def _linear(a: Arguments, source: str, transposed: str) -> list[Layer]:
    weight = a.constant(transposed).t()
    bias = torch.zeros(len(weight), dtype=torch.float32, device="cpu")
    if "self" in a.by_name and source != "self":
        a.require(beta=1, alpha=1)
        bias = a.channels(a["self"], (1, len(weight)))
    name = _name_of_weight(a, a[transposed])
    return [Convolution(a.output, a.value(source), name, weight[:, :, None, None], bias)]


def _name_of_weight(a: Arguments, weight: Tensor) -> str:
    """Return the name of the parameter that a weight is."""
    return a.parameters.get(weight.data_ptr(), "a computed weight")


def _norm(a: Arguments) -> list[Layer]:
    if a.by_name.get("training"):
        raise NoKernelError("it takes the statistics of the batch")
    source = a.value("input")
    size = a.shapes[source][1]
    scale = a.optional("weight", size, 1.0) * (a.constant("running_var") + a["eps"]).rsqrt()
    return [Affine(a.output, source, scale, a.optional("bias", size, 0.0) - a.constant("running_mean") * scale)]


def _sum(a: Arguments) -> list[Layer]:
    a.require(alpha=1)
    first, second = a["self"], a["other"]
    if isinstance(first, Value) and isinstance(second, Value):
        if a.shapes[first] != a.shapes[second]:
            raise NoKernelError(f"shapes {a.shapes[first]} and {a.shapes[second]}")
        return [Affine(a.output, first, other=second)]
    value, constant = (first, second) if isinstance(first, Value) else (second, first)
    return [Affine(a.output, value, shift=a.channels(constant, a.shapes[a.output]))]


def _product(a: Arguments) -> list[Layer]:
    first, second = a["self"], a["other"]
    if isinstance(first, Value) and isinstance(second, Value):
        raise NoKernelError("both factors depend on the image")
    value, constant = (first, second) if isinstance(first, Value) else (second, first)
    return [Affine(a.output, value, scale=a.channels(constant, a.shapes[a.output]))]


def _max_pool(a: Arguments) -> list[Layer]:
    if a.pair("dilation") != (1, 1):
        raise NoKernelError(f"dilation is {a['dilation']}")
    kernel = a.pair("kernel_size")
    return [Pool(a.output, a.value("self"), kernel, a.pair("stride", kernel), a.pair("padding"))]


def _average_pool(a: Arguments) -> list[Layer]:
    a.require(ceil_mode=False, divisor_override=None)
    kernel, padding = a.pair("kernel_size"), a.pair("padding")
    if padding != (0, 0) and not a["count_include_pad"]:
        raise NoKernelError("count_include_pad is False")
    return [Pool(a.output, a.value("self"), kernel, a.pair("stride", kernel), padding, largest=False)]


def _mean(a: Arguments) -> list[Layer]:
    source = a.value("self")
    if len(a.shapes[source]) != 4 or sorted(d % 4 for d in a["dim"] or ()) != [2, 3] or a["dtype"] is not None:
        raise NoKernelError(f"over dimensions {a['dim']}")
    return [Mean(a.output, source)]


def _global_pool(a: Arguments) -> list[Layer]:
    a.require(output_size=[1, 1])
    return [Mean(a.output, a.value("self"))]


def _view(a: Arguments) -> list[Layer]:
    source = a.value("self")
    before, after = channel_shape(a.shapes[source]), channel_shape(a.shapes[a.output])
    if before == after:
        return [Channels(a.output, source)]
    if after[1:] != (1, 1):
        raise NoKernelError(f"from {a.shapes[source]} to {a.shapes[a.output]}")
    return [Flatten(a.output, source)]


def _split(a: Arguments) -> list[Layer]:
    source = a.value("self")
    a.require(dim=1)
    firsts = [sum(a.shapes[output][1] for output in a.outputs[:i]) for i in range(len(a.outputs))]
    return [Channels(output, source, first) for output, first in zip(a.outputs, firsts, strict=True)]


def _slice(a: Arguments) -> list[Layer]:
    source, dimension, step = a.value("self"), a["dim"], a["step"]
    shape, after = a.shapes[source], a.shapes[a.output]
    first = min(max(a["start"] or 0, -shape[dimension]), shape[dimension])
    first += shape[dimension] if first < 0 else 0
    if dimension == 1 and step == 1:
        return [Channels(a.output, source, first)]
    if dimension not in (2, 3) or first != 0 or after[dimension] != -(-shape[dimension] // step):
        raise NoKernelError(f"dimension {dimension}, start {a['start']}, step {step}")
    return [Pool(a.output, source, (1, 1), (step, 1) if dimension == 2 else (1, step))]


def _concatenation(a: Arguments) -> list[Layer]:
    a.require(dim=1)
    if not all(isinstance(source, Value) for source in a["tensors"]):
        raise NoKernelError("one of its tensors is constant")
    return [Concatenation(a.output, list(a["tensors"]))]


def _padding(a: Arguments) -> list[Layer]:
    *others, before, after = [*a["pad"], *[0] * 6][:6]
    if any(others) or min(before, after) < 0 or a["value"] not in (0, None) or len(a["pad"]) > 6:
        raise NoKernelError(f"pad is {a['pad']}")
    return [Concatenation(a.output, [before, a.value("self"), after])]


def _resize(a: Arguments, mode: str) -> list[Layer]:
    source = a.value("input" if "input" in a.by_name else "self")
    (_, _, *before), (_, _, *after) = a.shapes[source], a.shapes[a.output]
    if mode == "bilinear" and a["align_corners"]:
        options: dict[str, Any] = {"align_corners": True}
    else:
        options = {}
    scales = a.by_name.get("scale_factors") or [a.by_name.get("scales_h"), a.by_name.get("scales_w")]
    positions = []
    for old, new, scale in zip(before, after, scales, strict=True):
        ramp = torch.arange(old, dtype=torch.float32, device="cpu").view(1, 1, 1, old)
        size: dict[str, Any] = {"size": (1, new)} if scale is None else {"scale_factor": (1.0, scale)}
        positions.append(F.interpolate(ramp, mode=mode, **size, **options).flatten())
    if [len(position) for position in positions] != after:
        raise NoKernelError(f"from {before} to {after}")
    return [Resize(a.output, source, *positions)]


_SEVERAL_OUTPUTS = {aten.split, aten.split_with_sizes}

_TRANSLATIONS: dict[Any, Callable[[Arguments], list[Layer]]] = {
    aten.convolution: _convolution,
    aten.addmm: lambda a: _linear(a, "mat1", "mat2"),
    aten.mm: lambda a: _linear(a, "self", "mat2"),
    aten.native_batch_norm: _norm,
    aten._native_batch_norm_legit_no_training: _norm,
    aten.relu: lambda a: [Affine(a.output, a.value("self"), relu=True)],
    aten.relu_: lambda a: [Affine(a.output, a.value("self"), relu=True)],
    aten.add: _sum,
    aten.add_: _sum,
    aten.mul: _product,
    aten.mul_: _product,
    aten.max_pool2d_with_indices: _max_pool,
    aten.avg_pool2d: _average_pool,
    aten.mean: _mean,
    aten._adaptive_avg_pool2d: _global_pool,
    aten.view: _view,
    aten._unsafe_view: _view,
    aten.clone: _view,
    aten.detach: _view,
    aten.alias: _view,
    aten.split: _split,
    aten.split_with_sizes: _split,
    aten.slice: _slice,
    aten.cat: _concatenation,
    aten.constant_pad_nd: _padding,
    aten.upsample_bilinear2d: lambda a: _resize(a, "bilinear"),
    aten.upsample_nearest2d: lambda a: _resize(a, "nearest"),
}
