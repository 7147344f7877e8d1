"""From layers to a program for the kernels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import operations as o
from .inner_loops import MAX_TILE, Lanes
from .layers import (
    Affine,
    Channels,
    Concatenation,
    Convolution,
    Flatten,
    Layer,
    Mean,
    Pool,
    Resize,
    channel_shape,
)
from .maps import Buffer, Buffers, Geometry
from .stage import Stage
from .trace import Value
from .weights import pack

Shapes = Mapping[Value, tuple[int, ...]]

DENSE_FROM = 0.45  # density from which on dense weights are faster, where nothing was measured
DIRECT_UP_TO = 2.5  # readers of a source below which copying it does not pay


def compile_stage(
    layers: Sequence[Layer],
    shapes: Shapes,
    stored: Iterable[Value],
    *,
    images: int,
    threads: int,
    lanes: Lanes,
    dense: Mapping[str, bool],
) -> Stage:
    """A program of layers none of which is a Fallback.

    Args:
        layers: in order.
        shapes: of all their values, without fewer images than ``images``.
        stored: values that are wanted.
        images: that go through at once.
        threads: that share the work on them.
        lanes: of the vectors.
        dense: by the name of a layer, whether its weights are taken as dense.
    """
    return _Compiler(layers, shapes, list(stored), images, threads, lanes, dense).compile()


class _Compiler:
    def __init__(
        self,
        layers: Sequence[Layer],
        shapes: Shapes,
        stored: list[Value],
        images: int,
        threads: int,
        lanes: Lanes,
        dense: Mapping[str, bool],
    ) -> None:
        self.layers, self.shapes, self.stored, self.images = layers, shapes, stored, images
        self.threads, self.lanes, self.dense = threads, lanes, dense
        self.operations: list[NDArray[np.void]] = []
        self.blocks: list[NDArray[np.void]] = []
        self.constants: list[NDArray[Any]] = []
        self.masks: dict[Geometry, int] = {}
        self.buffers = Buffers()
        self.places: dict[Value, tuple[Buffer, int]] = {}  # and the first channel in the buffer
        self.scratch = 0
        self.paddings = _paddings(layers, shapes)

    def compile(self) -> Stage:
        made = {layer.output for layer in self.layers}
        loads = list(dict.fromkeys(v for layer in self.layers for v in layer.inputs if v not in made))
        last = self._last_uses()
        slots = {value: slot for slot, value in enumerate([*loads, *self.stored])}
        for value in loads:
            self._take(value)
            self._emit(o.LOAD, self._parts(value), self._target(value), slot=slots[value])
        for number, layer in enumerate(self.layers):
            self._add(layer)
            for value in last[number]:
                self.buffers.give_back(self.places[value][0])
        for value in self.stored:
            self._emit(o.STORE, self._parts(value), self._source(value), slot=slots[value])
        return Stage(
            np.stack(self.operations),
            np.concatenate(self.blocks) if self.blocks else np.zeros(1, o.BLOCK),
            loads,
            [(value, self.shapes[value]) for value in self.stored],
            self.images,
            self.buffers.size,
            self.scratch + o.SEGMENT_BYTES + 4096,
            self.lanes,
            self.constants,
        )

    def _last_uses(self) -> dict[int, list[Value]]:
        """After which layer the buffer of a value is free."""
        root: dict[Value, Value] = {}
        last: dict[Value, int] = {}
        for number, layer in enumerate(self.layers):
            for value in (*layer.inputs, layer.output):
                root.setdefault(value, value)
            if isinstance(layer, Channels):
                root[layer.output] = root[layer.source]
            for value in (*layer.inputs, layer.output):
                last[root[value]] = number
        for value in self.stored:
            last.pop(root.get(value, value), None)
        uses = defaultdict(list)
        for value, number in last.items():
            uses[number].append(value)
        return uses

    # where things are

    def _geometry(self, value: Value) -> Geometry:
        _, height, width = channel_shape(self.shapes[value])
        return Geometry(self.images, height, width, self.paddings.get((height, width), 0), len(self.lanes))

    def _take(self, value: Value) -> None:
        channels = channel_shape(self.shapes[value])[0]
        self.places[value] = (self.buffers.take(self._geometry(value), channels), 0)

    def _start(self, value: Value, channel: int = 0) -> int:
        buffer, first = self.places[value]
        return buffer.start + 4 * (first + channel) * buffer.geometry.plane

    def _source(self, value: Value) -> dict[str, int]:
        g = self._geometry(value)
        return {
            "source": self._start(value),
            "source_plane": 4 * g.plane,
            "source_row": g.row,
            "source_rows": g.rows,
            "source_height": g.height,
            "source_width": g.width,
            "channels": channel_shape(self.shapes[value])[0],
        }

    def _target(self, value: Value, channel: int = 0) -> dict[str, int]:
        g = self._geometry(value)
        return {
            "target": self._start(value, channel),
            "target_plane": 4 * g.plane,
            "target_row": g.row,
            "target_rows": g.rows,
            "target_height": g.height,
            "target_width": g.width,
            "vectors": g.vectors,
            "mask": self._mask(g),
            "channels": channel_shape(self.shapes[value])[0],
        }

    def _mask(self, g: Geometry) -> int:
        if g not in self.masks:
            row, x = np.divmod(np.arange(g.vectors * g.lanes), g.row)
            image, y = np.divmod(row, g.rows)
            valid = (x < g.width) & (y < g.height) & (image < g.images)
            self.masks[g] = self._address(np.where(valid, 0xFFFFFFFF, 0).astype(np.uint32))
        return self.masks[g]

    def _address(self, constant: NDArray[Any] | Tensor | None) -> int:
        if constant is None:
            return 0
        array = constant.numpy() if isinstance(constant, Tensor) else constant
        self.constants.append(np.ascontiguousarray(array))
        return int(self.constants[-1].ctypes.data)

    def _parts(self, value: Value) -> int:
        """Into how many tasks the channels of a map are split."""
        channels = channel_shape(self.shapes[value])[0]
        enough = channels * self._geometry(value).vectors * len(self.lanes) > 8192
        return min(channels, 4 * self.threads) if self.threads > 1 and enough else 1

    def _emit(self, kind: int, tasks: int, *maps: dict[str, int], **fields: int) -> None:
        record = np.zeros((), o.OPERATION)
        record["other"] = -1
        numbers: dict[str, int] = {"kind": kind, "tasks": tasks, "images": self.images}
        for more in (*maps, fields):
            numbers |= more
        for name, number in numbers.items():
            record[name] = number
        self.operations.append(record)

    # layers

    def _add(self, layer: Layer) -> None:
        if isinstance(layer, Channels):
            buffer, first = self.places[layer.source]
            self.places[layer.output] = (buffer, first + layer.first)
            return
        self._take(layer.output)
        if isinstance(layer, Convolution):
            self._convolution(layer)
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
            self._emit(kind, self._parts(layer.source), self._target(layer.output), self._source(layer.source))
        else:
            raise TypeError(f"no kernel for {type(layer).__name__}")

    def _affine(self, layer: Affine) -> None:
        other = {} if layer.other is None else self._other(layer.other)
        maps = (self._source(layer.source), self._target(layer.output), other)
        scale, bias = self._address(layer.scale), self._address(layer.shift)
        self._emit(o.AFFINE, self._parts(layer.output), *maps, relu=layer.relu, scale=scale, bias=bias)

    def _other(self, value: Value) -> dict[str, int]:
        return {"other": self._start(value), "other_plane": 4 * self._geometry(value).plane}

    def _concatenation(self, layer: Concatenation) -> None:
        channel = 0
        for source in layer.sources:
            target = self._target(layer.output, channel)
            if isinstance(source, Value):
                self._emit(o.AFFINE, self._parts(source), target, self._source(source))
                channel += channel_shape(self.shapes[source])[0]
            elif source:
                zeros = self.buffers.new(self._geometry(layer.output), 1)  # never given back
                fields = {"source": zeros.start, "source_plane": 0, "channels": source}
                self._emit(o.AFFINE, 1, target, fields)
                channel += source

    def _pool(self, layer: Pool) -> None:
        self._need_scratch(4 * (self._geometry(layer.output).width + len(self.lanes)))
        self._emit(
            o.MAXIMUM if layer.largest else o.AVERAGE,
            self._parts(layer.source),
            self._source(layer.source),
            self._target(layer.output),
            stride_down=layer.stride[0],
            stride=layer.stride[1],
            kernel_height=layer.kernel[0],
            kernel_width=layer.kernel[1],
            padding_top=layer.padding[0],
            padding_left=layer.padding[1],
        )

    def _resize(self, layer: Resize) -> None:
        g = self._geometry(layer.source)
        self._need_scratch(4 * (g.width + len(self.lanes)))
        ends, shares = [], []
        for places, size in ((layer.rows, g.height), (layer.columns, g.width)):
            low = places.floor().long().clamp(0, size - 1)
            ends.append(torch.stack([low, (low + 1).clamp(max=size - 1)], 1).flatten())
            shares.append(places - low)
        index, values = self._address(torch.cat(ends).int()), self._address(torch.cat(shares).float())
        maps = self._source(layer.source), self._target(layer.output)
        self._emit(o.RESIZE, self._parts(layer.output), *maps, index=index, values=values)

    def _need_scratch(self, size: int) -> None:
        self.scratch = max(self.scratch, size)

    def _convolution(self, layer: Convolution) -> None:
        source, target = self._geometry(layer.source), self._geometry(layer.output)
        dense = self.dense.get(layer.name)
        density = float(layer.weight.count_nonzero()) / layer.weight.numel()
        dense = density > DENSE_FROM if dense is None else dense
        form = _form(layer, source == target, density, dense)
        if self._is_dot(layer):
            self._dot(layer, dense)
            return
        wide = MAX_TILE if not dense or len(self.lanes) != 8 else 4  # AVX has half the registers
        tiles = -(-target.vectors // wide)
        tile = -(-target.vectors // tiles)
        packed = pack(layer, source, form, tile)
        panel = 4 * len(self.lanes) * tile
        self._need_scratch(panel * (int(packed.blocks["count"].max()) + 2))
        chunks = self._chunks(layer, tiles, form)
        fields = {
            "table": sum(map(len, self.blocks)),
            "blocks": len(packed.blocks),
            "values": self._address(packed.values),
            "index": self._address(packed.index),
            "pointers": self._address(packed.pointers),
            "sources": self._address(packed.sources),
        }
        self.blocks.append(packed.blocks)
        self._emit(
            o.CONVOLUTION,
            tiles * chunks,
            self._source(layer.source),
            self._target(layer.output),
            {} if layer.residual is None else self._other(layer.residual),
            fields,
            tiles=tiles,
            chunks=chunks,
            form=form,
            panel=panel,
            same=source == target and layer.stride == (1, 1),
            stride_down=layer.stride[0],
            stride=layer.stride[1],
            bias=self._address(layer.bias),
            relu=layer.relu,
        )

    def _chunks(self, layer: Convolution, tiles: int, form: int) -> int:
        """Into how many tasks the output channels of a tile are split."""
        copies = form in (o.PANEL_SPARSE, o.PANEL_DENSE)
        wanted = self.threads if copies else 4 * self.threads
        chunks = max(1, -(-wanted // tiles)) if self.threads > 1 else 1
        return min(chunks, max(1, len(layer.weight) // layer.groups // 8))

    def _is_dot(self, layer: Convolution) -> bool:
        g = self._geometry(layer.source)
        alone = self.images == g.height == g.width == layer.groups == 1 and layer.residual is None
        return alone and layer.weight.shape[2:] == (1, 1) and layer.padding == (0, 0) and layer.weight.shape[1] < 2**16

    def _dot(self, layer: Convolution, dense: bool) -> None:
        weight = layer.weight.numpy()[:, :, 0, 0]
        row, column = np.nonzero(weight)
        pointers = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(weight)))])
        values = weight if dense else weight[row, column]
        self._need_scratch(4 * weight.shape[1])
        self._emit(
            o.DOT,
            min(len(weight), 4 * self.threads) if self.threads > 1 and len(values) > 8192 else 1,
            self._source(layer.source),
            self._target(layer.output),
            source_width=weight.shape[1],
            form=o.PLACE_DENSE if dense else o.PLACE_SPARSE,
            values=self._address(values),
            index=self._address(column.astype(np.uint16)),
            pointers=self._address(pointers.astype(np.int32)),
            bias=self._address(layer.bias),
            relu=layer.relu,
        )


def _form(layer: Convolution, same_size: bool, density: float, dense: bool) -> int:
    rows, _, height, width = layer.weight.shape
    same = same_size and layer.stride == (1, 1)
    if same and (height, width) == (1, 1) and layer.padding == (0, 0):
        return o.PLACE_DENSE if dense else o.PLACE_SPARSE
    if same and rows / layer.groups * density < DIRECT_UP_TO:
        return o.DIRECT_SPARSE
    return o.PANEL_DENSE if dense else o.PANEL_SPARSE


def _paddings(layers: Sequence[Layer], shapes: Shapes) -> dict[tuple[int, int], int]:
    """How many zeros around maps of a size convolutions read."""
    paddings: dict[tuple[int, int], int] = {}
    for layer in layers:
        if isinstance(layer, Convolution):
            size = channel_shape(shapes[layer.source])[1:]
            paddings[size] = max(paddings.get(size, 0), *layer.padding)
    return paddings
