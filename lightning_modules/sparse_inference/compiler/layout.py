"""Where the values of a stage lie in its workspace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..graph.layers import Channels, Convolution, Layer, channel_shape
from ..graph.trace import Value
from .buffers import Buffer, Buffers, Geometry
from .program_builder import Program

Shapes = Mapping[Value, tuple[int, ...]]


class Places:
    """Gives values their buffers, and says in the fields of an operation where they are.

    Args:
        program: that keeps what the fields have addresses of.
        layers: all of the stage.
        shapes: of all values.
        lanes: floats in a vector.
    """

    def __init__(self, program: Program, layers: Sequence[Layer], shapes: Shapes, lanes: int) -> None:
        self.program, self.shapes, self.lanes = program, shapes, lanes
        self.buffers = Buffers()
        self._places: dict[Value, tuple[Buffer, int]] = {}  # and the first channel in the buffer
        self._masks: dict[Geometry, int] = {}
        self._paddings = _paddings(layers, shapes)

    def channels(self, value: Value) -> int:
        return channel_shape(self.shapes[value])[0]

    def geometry(self, value: Value) -> Geometry:
        _, height, width = channel_shape(self.shapes[value])
        padding = self._paddings.get((height, width), 0)
        return Geometry(self.program.images, height, width, padding, self.lanes)

    def take(self, value: Value) -> None:
        self._places[value] = (self.buffers.take(self.geometry(value), self.channels(value)), 0)

    def take_over(self, value: Value, other: Value) -> None:
        """Let a value take the place of another of its shape."""
        self._places[value] = self._places[other]

    def alias(self, value: Value, source: Value, first: int) -> None:
        """Let a value be some channels of another."""
        buffer, before = self._places[source]
        self._places[value] = (buffer, before + first)

    def together(self, first: Value, second: Value) -> bool:
        """Whether both lie in one buffer."""
        return self._places[first][0] is self._places[second][0]

    def give_back(self, value: Value) -> None:
        self.buffers.give_back(self._places[value][0])

    def source(self, value: Value) -> dict[str, int]:
        g = self.geometry(value)
        return {
            "source": self._start(value),
            "source_plane": 4 * g.plane,
            "source_row": g.row,
            "source_rows": g.rows,
            "source_height": g.height,
            "source_width": g.width,
            "channels": self.channels(value),
        }

    def target(self, value: Value, channel: int = 0) -> dict[str, int]:
        g = self.geometry(value)
        return {
            "target": self._start(value, channel),
            "target_plane": 4 * g.plane,
            "target_row": g.row,
            "target_rows": g.rows,
            "target_height": g.height,
            "target_width": g.width,
            "vectors": g.vectors,
            "mask": self._mask(g),
            "channels": self.channels(value),
        }

    def other(self, value: Value | None) -> dict[str, int]:
        return {} if value is None else {"other": self._start(value), "other_plane": 4 * self.geometry(value).plane}

    def _start(self, value: Value, channel: int = 0) -> int:
        buffer, first = self._places[value]
        return buffer.start + 4 * (first + channel) * buffer.geometry.plane

    def _mask(self, g: Geometry) -> int:
        if g not in self._masks:
            row, x = np.divmod(np.arange(g.vectors * g.lanes), g.row)
            image, y = np.divmod(row, g.rows)
            valid = (x < g.width) & (y < g.height) & (image < g.images)
            self._masks[g] = self.program.address(np.where(valid, 0xFFFFFFFF, 0).astype(np.uint32))
        return self._masks[g]


def last_uses(layers: Sequence[Layer], stored: Iterable[Value]) -> dict[int, list[Value]]:
    """After which layer the buffers of which values are free."""
    root: dict[Value, Value] = {}
    last: dict[Value, int] = {}
    for number, layer in enumerate(layers):
        for value in (*layer.inputs, layer.output):
            root.setdefault(value, value)
        if isinstance(layer, Channels):
            root[layer.output] = root[layer.source]
        for value in (*layer.inputs, layer.output):
            last[root[value]] = number
    for value in stored:
        last.pop(root.get(value, value), None)
    uses = defaultdict(list)
    for value, number in last.items():
        uses[number].append(value)
    return uses


def _paddings(layers: Sequence[Layer], shapes: Shapes) -> dict[tuple[int, int], int]:
    """How many zeros around maps of a size convolutions read."""
    paddings: dict[tuple[int, int], int] = {}
    for layer in layers:
        if isinstance(layer, Convolution):
            size = channel_shape(shapes[layer.source])[1:]
            paddings[size] = max(paddings.get(size, 0), *layer.padding)
    return paddings
