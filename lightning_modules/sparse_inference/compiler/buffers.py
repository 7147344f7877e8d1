"""Where maps of activations lie in a workspace."""

from __future__ import annotations

from dataclasses import dataclass, field

SLACK = 4096  # bytes before and after all maps, which vectors may read over


@dataclass(frozen=True)
class Geometry:
    """How the planes of maps of one size are laid out; see :mod:`.operations`. Sizes are in floats.

    Args:
        images: in a plane, one below the other.
        height: of an image.
        width: of an image.
        padding: zeros around each image that convolutions may read.
        lanes: floats in a vector.
    """

    images: int
    height: int
    width: int
    padding: int
    lanes: int

    @property
    def row(self) -> int:
        return self.width + self.padding

    @property
    def rows(self) -> int:
        """From the top of an image to that of the next."""
        return self.height + self.padding

    @property
    def vectors(self) -> int:
        """From the first pixel to the last, with the zeros between."""
        pixels = ((self.images - 1) * self.rows + self.height) * self.row
        return -(-pixels // self.lanes)

    @property
    def margin(self) -> int:
        """Zeros before the first plane."""
        return self._aligned(self.padding * self.row + self.padding)

    @property
    def plane(self) -> int:
        """From the first pixel of a channel to that of the next."""
        size = max(self.vectors * self.lanes, 1) + self.padding * self.row + self.padding
        return (self._aligned(size) // self.lanes | 1) * self.lanes  # an odd number of vectors spreads over a cache

    def _aligned(self, size: int) -> int:
        return -(-size // self.lanes) * self.lanes


@dataclass
class Buffer:
    """A piece of the workspace for maps of one geometry: ``start`` is its first pixel, in bytes."""

    geometry: Geometry
    channels: int
    start: int


@dataclass
class Buffers:
    """Gives maps their buffers, and gives them again to others of the same geometry, so that margins stay 0."""

    end: int = SLACK
    free: list[Buffer] = field(default_factory=list)

    def take(self, geometry: Geometry, channels: int) -> Buffer:
        """The smallest free buffer that is large enough, or a new one."""
        fitting = [b for b in self.free if b.geometry == geometry and b.channels >= channels]
        if fitting:
            buffer = min(fitting, key=lambda buffer: buffer.channels)
            self.free.remove(buffer)
            return buffer
        return self.new(geometry, channels)

    def new(self, geometry: Geometry, channels: int) -> Buffer:
        """One that nothing was written to: all zeros."""
        start = self.end + 4 * geometry.margin
        self.end = -(-(start + 4 * channels * geometry.plane) // 64) * 64
        return Buffer(geometry, channels, start)

    def give_back(self, buffer: Buffer) -> None:
        self.free.append(buffer)

    @property
    def size(self) -> int:
        """Bytes of the workspace."""
        return self.end + SLACK
