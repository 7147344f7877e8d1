"""The layout of a workspace: in which buffer each value of a program lies, and when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..graph.layers import Channels, Convolution, Layer, channel_shape
from ..graph.trace import Value
from .buffers import Buffer, BufferPool, Geometry
from .program_builder import ProgramBuilder

Shapes = Mapping[Value, tuple[int, ...]]


class Layout:
    """The buffers of values, and the fields of operations that say where these are.

    Args:
        program: the program that keeps what the fields have addresses of.
        layers: all layers of the program.
        shapes: the shapes of all values.
        vector_width: the floats in a vector.
    """

    def __init__(self, program: ProgramBuilder, layers: Sequence[Layer], shapes: Shapes, vector_width: int) -> None:
        self.program, self.shapes, self.vector_width = program, shapes, vector_width
        self.buffers = BufferPool()
        self._locations: dict[Value, tuple[Buffer, int]] = {}  # the buffer, and the first channel in it
        self._masks: dict[Geometry, int] = {}
        self._paddings = _paddings(layers, shapes)

    def channels(self, value: Value) -> int:
        """Return the number of channels of a value."""
        return channel_shape(self.shapes[value])[0]

    def geometry(self, value: Value) -> Geometry:
        """Return the geometry of a value's planes."""
        _, height, width = channel_shape(self.shapes[value])
        padding = self._paddings.get((height, width), 0)
        return Geometry(self.program.images, height, width, padding, self.vector_width)

    def allocate(self, value: Value) -> None:
        """Give a value a buffer of its own."""
        self._locations[value] = (self.buffers.allocate(self.geometry(value), self.channels(value)), 0)

    def take_over(self, value: Value, other: Value) -> None:
        """Let a value be written over another of its shape."""
        self._locations[value] = self._locations[other]

    def alias(self, value: Value, source: Value, first: int) -> None:
        """Let a value be the channels ``first`` and following of another."""
        buffer, before = self._locations[source]
        self._locations[value] = (buffer, before + first)

    def share_buffer(self, first: Value, second: Value) -> bool:
        """Return whether both values lie in one buffer."""
        return self._locations[first][0] is self._locations[second][0]

    def release(self, value: Value) -> None:
        """Let the buffer of a value be used for others."""
        self.buffers.release(self._locations[value][0])

    def source(self, value: Value) -> dict[str, int]:
        """Return the fields of an operation that reads a value."""
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
        """Return the fields of an operation that writes a value, from a channel on."""
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
        """Return the fields of an operation that adds a value; none if there is none."""
        return {} if value is None else {"other": self._start(value), "other_plane": 4 * self.geometry(value).plane}

    def _start(self, value: Value, channel: int = 0) -> int:
        """Return where a channel of a value begins in the workspace."""
        buffer, first = self._locations[value]
        return buffer.start + 4 * (first + channel) * buffer.geometry.plane

    def _mask(self, g: Geometry) -> int:
        """Return the address of words that are ones for pixels, and zeros for what lies between rows and images."""
        if g not in self._masks:
            row, x = np.divmod(np.arange(g.vectors * g.vector_width), g.row)
            image, y = np.divmod(row, g.rows)
            valid = (x < g.width) & (y < g.height) & (image < g.images)
            self._masks[g] = self.program.address(np.where(valid, 0xFFFFFFFF, 0).astype(np.uint32))
        return self._masks[g]


def last_uses(layers: Sequence[Layer], stored: Iterable[Value]) -> dict[int, list[Value]]:
    """Return, by the number of a layer, the values whose buffers are free after it; ``stored`` values stay."""
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
    """Return how many zeros around maps of a size convolutions read."""
    paddings: dict[tuple[int, int], int] = {}
    for layer in layers:
        if isinstance(layer, Convolution):
            size = channel_shape(shapes[layer.source])[1:]
            paddings[size] = max(paddings.get(size, 0), *layer.padding)
    return paddings
