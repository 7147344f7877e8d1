"""The buffers of a workspace, in which maps of activations lie."""

from __future__ import annotations

from dataclasses import dataclass, field

SLACK = 4096  # bytes before and after all maps, as vectors may be read beyond a map


@dataclass(frozen=True)
class Geometry:
    """The layout of the planes of maps of one size, as :mod:`.operations` describes it. Sizes are in floats.

    Args:
        images: the number of images in a plane, one below the other.
        height: the height of an image.
        width: the width of an image.
        padding: the number of zeros around each image that convolutions may read.
        vector_width: the floats in a vector.
    """

    images: int
    height: int
    width: int
    padding: int
    vector_width: int

    @property
    def row(self) -> int:
        """Return the distance from a row to the next."""
        return self.width + self.padding

    @property
    def rows(self) -> int:
        """Return the number of rows from the top of an image to that of the next."""
        return self.height + self.padding

    @property
    def vectors(self) -> int:
        """Return the number of vectors from the first pixel to the last, with the zeros between."""
        pixels = ((self.images - 1) * self.rows + self.height) * self.row
        return -(-pixels // self.vector_width)

    @property
    def margin(self) -> int:
        """Return the number of zeros before the first plane."""
        return self._whole_vectors(self.padding * self.row + self.padding)

    @property
    def plane(self) -> int:
        """Return the distance from the first pixel of a channel to that of the next."""
        size = max(self.vectors * self.vector_width, 1) + self.padding * self.row + self.padding
        vectors = self._whole_vectors(size) // self.vector_width
        return (vectors | 1) * self.vector_width  # planes of an odd number of vectors spread over all of a cache

    def _whole_vectors(self, size: int) -> int:
        """Return the least number of floats from ``size`` on that fills vectors."""
        return -(-size // self.vector_width) * self.vector_width


@dataclass
class Buffer:
    """A part of the workspace for maps of one geometry; ``start`` is where its first pixel is, in bytes."""

    geometry: Geometry
    channels: int
    start: int


@dataclass
class BufferPool:
    """The buffers of a workspace; one that is free again goes to maps of the same geometry, so that margins stay 0."""

    end: int = SLACK
    free: list[Buffer] = field(default_factory=list)

    def allocate(self, geometry: Geometry, channels: int) -> Buffer:
        """Return the smallest free buffer that is large enough, or a new one."""
        fitting = [b for b in self.free if b.geometry == geometry and b.channels >= channels]
        if fitting:
            buffer = min(fitting, key=lambda buffer: buffer.channels)
            self.free.remove(buffer)
            return buffer
        return self.allocate_zeros(geometry, channels)

    def allocate_zeros(self, geometry: Geometry, channels: int) -> Buffer:
        """Return a new buffer, to which nothing was written, so that it is all zeros."""
        start = self.end + 4 * geometry.margin
        self.end = -(-(start + 4 * channels * geometry.plane) // 64) * 64
        return Buffer(geometry, channels, start)

    def release(self, buffer: Buffer) -> None:
        """Let a buffer be used for other maps."""
        self.free.append(buffer)

    @property
    def size(self) -> int:
        """Return the bytes of the workspace."""
        return self.end + SLACK
