"""The plan of a network: how it runs for one shape of input."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .calibration import DENSE_FROM, Seconds, compare, is_unsure
from .compiler.compile_program import compile_program
from .graph.fold import fold
from .graph.layers import Convolution, Fallback, Layer, channel_shape
from .graph.trace import Trace, Value, leaves, replace, trace
from .graph.translate import translate
from .run.program import Program
from .run.surroundings import in_float32

WORKING_SET = 2**20  # the most bytes of the largest map of all images that go through at once
SHARED_FROM = 2**20  # multiplications of a call from which on threads share it; fewer are done before another one comes


@dataclass
class Plan:
    """The programs for the kernels, and calls of torch between them.

    Args:
        steps: the programs and calls in order.
        result: what the network returns, with Values for tensors.
        dense: by the name of each layer with weights, whether they are taken as dense.
        reasons: why parts of the network run in torch.
        threads: how many threads share the work.
    """

    steps: list[Program | Fallback]
    result: Any
    dense: Mapping[str, bool]
    reasons: list[str]
    threads: int

    def __post_init__(self) -> None:
        self._only_program: Program | None = None  # the one that makes the result of the image, if it is the only step
        step = self.steps[0] if len(self.steps) == 1 else None
        if (
            isinstance(step, Program)
            and [value for value, _ in step.loads] == [Value(0)]
            and self.result == step.stores[0][0]
        ):
            self._only_program = step

    @property
    def programs(self) -> list[Program]:
        """Return the programs among the steps."""
        return [step for step in self.steps if isinstance(step, Program)]

    def __call__(self, image: Tensor) -> Any:
        if self._only_program is not None:
            return self._only_program([image], self.threads)[0]
        values: dict[Value, Tensor] = {Value(0): image}
        with in_float32():
            for step in self.steps:
                if isinstance(step, Program):
                    outputs: Iterable[Tensor] = step([values[value] for value, _ in step.loads], self.threads)
                    values.update(zip((value for value, _ in step.stores), outputs, strict=True))
                else:
                    _call(step, values)
        return replace(self.result, Value, lambda value: values[value])


def _call(step: Fallback, values: dict[Value, Tensor]) -> None:
    """Let torch run a call, and add what it returns to the values."""
    arguments, keywords = replace((step.call.arguments, step.call.keywords), Value, lambda value: values[value])
    result = step.call.function(*arguments, **keywords)
    outputs = result if isinstance(result, (tuple, list)) else [result]
    values.update(zip(step.call.outputs, outputs, strict=True))


class Draft:
    """A network for one shape of input, before it is settled which layers take their weights as dense.

    Args:
        module: the network, in eval mode.
        image: an input of this shape.
        threads: how many threads the plan is for.
        vector_width: the floats in a vector.

    Raises:
        UntraceableError: there can be no plan.
    """

    def __init__(self, module: nn.Module, image: Tensor, *, threads: int, vector_width: int) -> None:
        self.traced = trace(module, image)
        names = {parameter.data_ptr(): name for name, parameter in module.named_parameters()}
        self.results: list[Value] = leaves(Value, self.traced.result)
        self.layers = fold(translate(self.traced, names), self.results)
        self.images, self.vector_width = _images_at_once(self.layers, self.traced), vector_width
        self.threads = threads if self._multiplications() >= SHARED_FROM else 1
        enough_images = -(-image.shape[0] // self.images) >= threads  # each thread has images of its own
        self.sharing = 1 if enough_images else self.threads

    @property
    def convolutions(self) -> list[Convolution]:
        """Return the layers with weights."""
        return [layer for layer in self.layers if isinstance(layer, Convolution)]

    def plan(self, dense: Mapping[str, bool]) -> Plan:
        """Return the plan with layers dense or sparse as ``dense`` says by name; the density decides on others."""
        dense = {layer.name: layer.density > DENSE_FROM for layer in self.convolutions} | dict(dense)
        shapes = {Value(number): shape for number, shape in enumerate(self.traced.shapes)}

        def compiled(run: Sequence[Layer], stored: Iterable[Value]) -> Program:
            return compile_program(
                run,
                shapes,
                stored,
                images=self.images,
                threads=self.sharing,
                vector_width=self.vector_width,
                dense=dense,
            )

        reasons = [layer.reason for layer in self.layers if isinstance(layer, Fallback)]
        return Plan(_steps(self.layers, self.results, compiled), self.traced.result, dense, reasons, self.threads)

    def calibrated(self, dense: Mapping[str, bool]) -> Plan:
        """Return the plan with the faster weights, as measured now, where neither ``dense`` nor the density says."""
        unsure = {layer.name for layer in self.convolutions if is_unsure(layer)} - dense.keys()
        return self.plan({**dense, **{name: it.dense < it.sparse for name, it in self.seconds(unsure).items()}})

    def seconds(self, names: Collection[str]) -> dict[str, Seconds]:
        """Return the seconds that layers take with sparse and dense weights."""
        if not names:
            return {}
        sparse, dense = (self.plan(dict.fromkeys(names, choice)).programs for choice in (False, True))
        return compare(sparse, dense, names, self.sharing)

    def _multiplications(self) -> int:
        """Return the number of multiplications by weights that are not 0, for the whole batch."""
        shapes = [(layer, self.traced.shapes[layer.output.number]) for layer in self.convolutions]
        return sum(round(layer.density * layer.weight[0].numel()) * math.prod(shape) for layer, shape in shapes)


def _steps(
    layers: Sequence[Layer], results: Sequence[Value], compiled: Callable[[Sequence[Layer], Iterable[Value]], Program]
) -> list[Program | Fallback]:
    """Return the layers that follow one another as one program, and between them the calls of torch."""
    steps: list[Program | Fallback] = []
    start = 0
    for end in range(len(layers) + 1):
        layer = layers[end] if end < len(layers) else None
        if layer is not None and not isinstance(layer, Fallback):
            continue
        if run := layers[start:end]:
            wanted = {*results, *(value for later in layers[end:] for value in later.inputs)}
            steps.append(compiled(run, [made.output for made in run if made.output in wanted]))
        if layer is not None:
            steps.append(layer)
        start = end + 1
    return steps


def _images_at_once(layers: Sequence[Layer], traced: Trace) -> int:
    """Return how many images go through at once: as many as the second cache holds maps of, equally many each time."""
    shapes = [traced.shapes[layer.output.number] for layer in layers if not isinstance(layer, Fallback)]
    batch = traced.shapes[0][0] if traced.shapes[0] else 1
    largest = max((4 * channels * height * width for channels, height, width in map(channel_shape, shapes)), default=4)
    times = -(-batch // max(1, min(batch, WORKING_SET // largest)))
    return -(-batch // times)
