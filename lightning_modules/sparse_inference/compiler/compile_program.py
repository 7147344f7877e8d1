"""From layers to a program for the kernels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from ..graph.layers import Affine, Channels, Concatenation, Convolution, Flatten, Layer, Mean, Pool, Resize
from ..graph.trace import Value
from ..kernels import operations as o
from ..run.program import Stage
from .convolutions import add_convolution
from .layout import Places, Shapes, last_uses
from .program_builder import Program


def compile_stage(
    layers: Sequence[Layer],
    shapes: Shapes,
    stored: Iterable[Value],
    *,
    images: int,
    threads: int,
    lanes: int,
    dense: Mapping[str, bool],
) -> Stage:
    """A program of layers none of which is a Fallback.

    Args:
        layers: in order.
        shapes: of all their values, without fewer images than ``images``.
        stored: values that are wanted.
        images: that go through at once.
        threads: that share the work on them.
        lanes: floats in a vector.
        dense: by the name of each layer with weights, whether they are taken as dense.
    """
    program = Program(images)
    places = Places(program, layers, shapes, lanes)
    stored = list(stored)
    made = {layer.output for layer in layers}
    loads = list(dict.fromkeys(v for layer in layers for v in layer.inputs if v not in made))
    _Compiler(program, places, threads, dense).compile(layers, loads, stored)
    return Stage(
        np.stack(program.operations),
        np.concatenate(program.blocks) if program.blocks else np.zeros(1, o.BLOCK),
        [(value, shapes[value]) for value in loads],
        [(value, shapes[value]) for value in stored],
        images,
        places.buffers.size,
        program.scratch + o.SEGMENT_BYTES + 4096,
        lanes,
        program.constants.kept,
        program.weighted,
    )


class _Compiler:
    def __init__(self, program: Program, places: Places, threads: int, dense: Mapping[str, bool]) -> None:
        self.program, self.places, self.threads, self.dense = program, places, threads, dense

    def compile(self, layers: Sequence[Layer], loads: Sequence[Value], stored: Sequence[Value]) -> None:
        last = last_uses(layers, stored)
        slots = {value: slot for slot, value in enumerate([*loads, *stored])}
        for value in loads:
            self.places.take(value)
            self.program.emit(o.LOAD, self._parts(value), self.places.target(value), slot=slots[value])
        for number, layer in enumerate(layers):
            free = last[number]
            if isinstance(layer, Channels):
                self.places.alias(layer.output, layer.source, layer.first)
            elif isinstance(layer, Convolution) and layer.residual in free and self._in_place(layer):
                self.places.take_over(layer.output, layer.residual)
                free.remove(layer.residual)
            else:
                self.places.take(layer.output)
            self._add(layer)
            for value in free:
                self.places.give_back(value)
        for value in stored:
            self.program.emit(o.STORE, self._parts(value), self.places.source(value), slot=slots[value])

    def _in_place(self, layer: Convolution) -> bool:
        """Whether the output may take the place of the residual, which nobody else needs."""
        return layer.residual is not None and not self.places.together(layer.residual, layer.source)

    def _parts(self, value: Value) -> int:
        """Into how many tasks the channels of a map are split."""
        channels = self.places.channels(value)
        enough = channels * self.places.geometry(value).vectors * self.places.lanes > 8192
        return min(channels, 4 * self.threads) if self.threads > 1 and enough else 1

    def _add(self, layer: Layer) -> None:
        if isinstance(layer, Channels):
            return
        if isinstance(layer, Convolution):
            dense = self.dense[layer.name]
            add_convolution(self.program, self.places, layer, dense=dense, threads=self.threads)
        elif isinstance(layer, Affine):
            self._affine(layer)
        elif isinstance(layer, Concatenation):
            self._concatenation(layer)
        elif isinstance(layer, Pool):
            self._pool(layer)
        elif isinstance(layer, Resize):
            self._resize(layer)
        elif isinstance(layer, Mean | Flatten):
            kind = o.MEAN if isinstance(layer, Mean) else o.FLATTEN
            self.program.emit(kind, self._parts(layer.source), *self._ends(layer.source, layer.output))
        else:
            raise TypeError(f"no kernel for {type(layer).__name__}")

    def _ends(self, source: Value, output: Value) -> tuple[dict[str, int], dict[str, int]]:
        return self.places.target(output), self.places.source(source)

    def _affine(self, layer: Affine) -> None:
        maps = (*self._ends(layer.source, layer.output), self.places.other(layer.other))
        scale, bias = self.program.address(layer.scale), self.program.address(layer.shift)
        self.program.emit(o.AFFINE, self._parts(layer.output), *maps, relu=layer.relu, scale=scale, bias=bias)

    def _concatenation(self, layer: Concatenation) -> None:
        channel = 0
        for source in layer.sources:
            target = self.places.target(layer.output, channel)
            if isinstance(source, Value):
                self.program.emit(o.AFFINE, self._parts(source), target, self.places.source(source))
                channel += self.places.channels(source)
            elif source:
                zeros = self.places.buffers.new(self.places.geometry(layer.output), 1)  # never given back
                fields = {"source": zeros.start, "source_plane": 0, "channels": source}
                self.program.emit(o.AFFINE, 1, target, fields)
                channel += source

    def _pool(self, layer: Pool) -> None:
        self.program.need_scratch(4 * (self.places.geometry(layer.output).width + self.places.lanes))
        self.program.emit(
            o.MAXIMUM if layer.largest else o.AVERAGE,
            self._parts(layer.source),
            *self._ends(layer.source, layer.output),
            stride_down=layer.stride[0],
            stride=layer.stride[1],
            kernel_height=layer.kernel[0],
            kernel_width=layer.kernel[1],
            padding_top=layer.padding[0],
            padding_left=layer.padding[1],
        )

    def _resize(self, layer: Resize) -> None:
        g = self.places.geometry(layer.source)
        self.program.need_scratch(4 * (g.width + self.places.lanes))
        ends, shares = [], []
        for places, size in ((layer.rows, g.height), (layer.columns, g.width)):
            low = places.floor().long().clamp(0, size - 1)
            ends.append(torch.stack([low, (low + 1).clamp(max=size - 1)], 1).flatten())
            shares.append(places - low)
        index, values = self.program.address(torch.cat(ends).int()), self.program.address(torch.cat(shares).float())
        maps = self._ends(layer.source, layer.output)
        self.program.emit(o.RESIZE, self._parts(layer.output), *maps, index=index, values=values)
