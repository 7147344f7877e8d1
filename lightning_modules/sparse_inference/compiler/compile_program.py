"""The compilation of layers to a program for the kernels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from ..graph.layers import Affine, Channels, Concatenation, Convolution, Flatten, Layer, Mean, Pool, Resize
from ..graph.trace import Value
from ..kernels import operations as o
from ..run.program import Program
from .convolutions import add_convolution
from .layout import Layout, Shapes, last_uses
from .program_builder import ProgramBuilder


def compile_program(
    layers: Sequence[Layer],
    shapes: Shapes,
    stored: Iterable[Value],
    *,
    images: int,
    threads: int,
    vector_width: int,
    dense: Mapping[str, bool],
) -> Program:
    """Return a program of layers, none of which is a Fallback.

    Args:
        layers: the layers in order.
        shapes: the shapes of all their values, of at least as many images as ``images``.
        stored: the values that are wanted.
        images: how many images go through at once.
        threads: how many threads share the work on them.
        vector_width: the floats in a vector.
        dense: by the name of each layer with weights, whether they are taken as dense.
    """
    program = ProgramBuilder(images)
    layout = Layout(program, layers, shapes, vector_width)
    stored = list(stored)
    made = {layer.output for layer in layers}
    loads = list(dict.fromkeys(v for layer in layers for v in layer.inputs if v not in made))
    _Compiler(program, layout, threads, dense).compile(layers, loads, stored)
    return Program(
        np.stack(program.operations),
        np.concatenate(program.blocks) if program.blocks else np.zeros(1, o.BLOCK),
        [(value, shapes[value]) for value in loads],
        [(value, shapes[value]) for value in stored],
        images,
        layout.buffers.size,
        program.scratch + o.SEGMENT_BYTES + 4096,
        vector_width,
        program.constants.arrays,
        program.weighted,
    )


class _Compiler:
    """The compiler of one program: it gives values their buffers and writes an operation for each layer."""

    def __init__(self, program: ProgramBuilder, layout: Layout, threads: int, dense: Mapping[str, bool]) -> None:
        self.program, self.layout, self.threads, self.dense = program, layout, threads, dense

    def compile(self, layers: Sequence[Layer], loads: Sequence[Value], stored: Sequence[Value]) -> None:
        """Write the operations that load values, those of the layers, and those that store values."""
        last = last_uses(layers, stored)
        slots = {value: slot for slot, value in enumerate([*loads, *stored])}
        for value in loads:
            self.layout.allocate(value)
            self.program.emit(o.LOAD, self._parts(value), self.layout.target(value), slot=slots[value])
        for number, layer in enumerate(layers):
            free = last[number]
            if isinstance(layer, Channels):
                self.layout.alias(layer.output, layer.source, layer.first)
            elif isinstance(layer, Convolution) and layer.residual in free and self._may_overwrite_residual(layer):
                self.layout.take_over(layer.output, layer.residual)
                free.remove(layer.residual)
            else:
                self.layout.allocate(layer.output)
            self._add(layer)
            for value in free:
                self.layout.release(value)
        for value in stored:
            self.program.emit(o.STORE, self._parts(value), self.layout.source(value), slot=slots[value])

    def _may_overwrite_residual(self, layer: Convolution) -> bool:
        """Return whether the output may be written over the residual, if nobody else reads that."""
        return layer.residual is not None and not self.layout.share_buffer(layer.residual, layer.source)

    def _parts(self, value: Value) -> int:
        """Return into how many tasks the channels of a map are split."""
        channels = self.layout.channels(value)
        enough = channels * self.layout.geometry(value).vectors * self.layout.vector_width > 8192
        return min(channels, 4 * self.threads) if self.threads > 1 and enough else 1

    def _add(self, layer: Layer) -> None:
        """Write the operation of a layer."""
        if isinstance(layer, Channels):
            return
        if isinstance(layer, Convolution):
            dense = self.dense[layer.name]
            add_convolution(self.program, self.layout, layer, dense=dense, threads=self.threads)
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
            self.program.emit(kind, self._parts(layer.source), *self._source_and_target(layer.source, layer.output))
        else:
            raise TypeError(f"no kernel for {type(layer).__name__}")

    def _source_and_target(self, source: Value, output: Value) -> tuple[dict[str, int], dict[str, int]]:
        """Return the fields of an operation that reads one value and writes another."""
        return self.layout.target(output), self.layout.source(source)

    def _affine(self, layer: Affine) -> None:
        maps = (*self._source_and_target(layer.source, layer.output), self.layout.other(layer.other))
        scale, bias = self.program.address(layer.scale), self.program.address(layer.shift)
        self.program.emit(o.AFFINE, self._parts(layer.output), *maps, relu=layer.relu, scale=scale, bias=bias)

    def _concatenation(self, layer: Concatenation) -> None:
        channel = 0
        for source in layer.sources:
            target = self.layout.target(layer.output, channel)
            if isinstance(source, Value):
                self.program.emit(o.AFFINE, self._parts(source), target, self.layout.source(source))
                channel += self.layout.channels(source)
            elif source:
                # This buffer is never released, so that it stays 0.
                zeros = self.layout.buffers.allocate_zeros(self.layout.geometry(layer.output), 1)
                fields = {"source": zeros.start, "source_plane": 0, "channels": source}
                self.program.emit(o.AFFINE, 1, target, fields)
                channel += source

    def _pool(self, layer: Pool) -> None:
        self.program.need_scratch(4 * (self.layout.geometry(layer.output).width + self.layout.vector_width))
        self.program.emit(
            o.MAXIMUM if layer.largest else o.AVERAGE,
            self._parts(layer.source),
            *self._source_and_target(layer.source, layer.output),
            stride_down=layer.stride[0],
            stride=layer.stride[1],
            kernel_height=layer.kernel[0],
            kernel_width=layer.kernel[1],
            padding_top=layer.padding[0],
            padding_left=layer.padding[1],
        )

    def _resize(self, layer: Resize) -> None:
        g = self.layout.geometry(layer.source)
        self.program.need_scratch(4 * (g.width + self.layout.vector_width))
        ends, shares = [], []
        for positions, size in ((layer.rows, g.height), (layer.columns, g.width)):
            low = positions.floor().long().clamp(0, size - 1)
            ends.append(torch.stack([low, (low + 1).clamp(max=size - 1)], 1).flatten())
            shares.append(positions - low)
        index, values = self.program.address(torch.cat(ends).int()), self.program.address(torch.cat(shares).float())
        maps = self._source_and_target(layer.source, layer.output)
        self.program.emit(o.RESIZE, self._parts(layer.output), *maps, index=index, values=values)
