"""How a network runs for one shape of input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .compile_stage import compile_stage
from .fold import fold
from .inner_loops import Lanes
from .layers import Fallback, Layer, channel_shape
from .stage import Stage
from .trace import Trace, UntraceableError, Value, found, replace, trace
from .translate import translate

WORKING_SET = 2**20  # bytes of their largest map that images which go through at once may fill


@dataclass
class Plan:
    """Stages of kernels, and calls of torch between them.

    Args:
        steps: in order.
        result: what the network returns, with Values for tensors.
        reasons: why parts of it run in torch.
    """

    steps: list[Stage | Fallback]
    result: Any
    reasons: list[str]

    def __call__(self, image: Tensor, threads: int) -> Any:
        values: dict[Value, Tensor] = {Value(0): image}
        for step in self.steps:
            if isinstance(step, Stage):
                outputs: Iterable[Tensor] = step([values[value] for value in step.loads], threads)
                values.update(zip((value for value, _ in step.stores), outputs, strict=True))
            else:
                _call(step, values)
        return replace(self.result, Value, lambda value: values[value])


def _call(step: Fallback, values: dict[Value, Tensor]) -> None:
    arguments, keywords = replace((step.call.arguments, step.call.keywords), Value, lambda value: values[value])
    result = step.call.function(*arguments, **keywords)
    outputs = result if isinstance(result, (tuple, list)) else [result]
    values.update(zip(step.call.outputs, outputs, strict=True))


def make_plan(module: nn.Module, image: Tensor, *, threads: int, lanes: Lanes, dense: Mapping[str, bool]) -> Plan | str:
    """A plan for inputs of an image's shape, or why there can be none.

    Args:
        module: in eval mode.
        image: one such input.
        threads: that the plan is for.
        lanes: of the vectors.
        dense: by the name of a layer, whether its weights are taken as dense.
    """
    try:
        traced = trace(module, image)
    except UntraceableError as error:
        return str(error)
    names = {parameter.data_ptr(): name for name, parameter in module.named_parameters()}
    results: list[Value] = found(Value, traced.result)
    layers = fold(translate(traced, names), results)
    images = _images_at_once(layers, traced)
    if -(-image.shape[0] // images) >= threads:
        threads = 1  # each on images of its own
    shapes = {Value(number): shape for number, shape in enumerate(traced.shapes)}

    def stage(run: Sequence[Layer], stored: Iterable[Value]) -> Stage:
        return compile_stage(run, shapes, stored, images=images, threads=threads, lanes=lanes, dense=dense)

    reasons = [layer.reason for layer in layers if isinstance(layer, Fallback)]
    return Plan(_steps(layers, results, stage), traced.result, reasons)


def _steps(
    layers: Sequence[Layer], results: Sequence[Value], stage: Callable[[Sequence[Layer], Iterable[Value]], Stage]
) -> list[Stage | Fallback]:
    """Layers that follow one another as one stage."""
    steps: list[Stage | Fallback] = []
    start = 0
    for end in range(len(layers) + 1):
        layer = layers[end] if end < len(layers) else None
        if layer is not None and not isinstance(layer, Fallback):
            continue
        if run := layers[start:end]:
            wanted = {*results, *(value for later in layers[end:] for value in later.inputs)}
            steps.append(stage(run, [made.output for made in run if made.output in wanted]))
        if layer is not None:
            steps.append(layer)
        start = end + 1
    return steps


def _images_at_once(layers: Sequence[Layer], traced: Trace) -> int:
    """As many as the second cache holds the maps of, the same number each time."""
    shapes = [traced.shapes[layer.output.number] for layer in layers if not isinstance(layer, Fallback)]
    batch = traced.shapes[0][0] if traced.shapes[0] else 1
    largest = max((4 * channels * height * width for channels, height, width in map(channel_shape, shapes)), default=4)
    times = -(-batch // max(1, min(batch, WORKING_SET // largest)))
    return -(-batch // times)
