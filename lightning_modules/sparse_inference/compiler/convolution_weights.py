"""The weights of a convolution in the order in which the kernels read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..graph.layers import Convolution
from ..kernels.operations import BLOCK, DIRECT_SPARSE, IN_PLACE_DENSE, IN_PLACE_SPARSE, PANEL_SPARSE, ROWS_AHEAD
from ..kernels.tiles import DENSE_ROWS, first_row
from .buffers import Geometry

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

PANEL_BYTES = 2**16  # of a tile's sources, which stay in the cache while all rows read them
IN_PLACE_CHANNELS = 256  # the most sources of a block that are read in place
# So many neighbouring rows are done in the order of their lengths, as a processor foresees when loops of equal length
# end.
SORTED_ROWS = 64


@dataclass
class Packed:
    """The weights in one form, which :data:`.operations.OPERATION` and :data:`.operations.BLOCK` describe."""

    form: int
    blocks: NDArray[np.void]
    values: Floats
    index: NDArray[np.uint16] | NDArray[np.int32]
    pointers: NDArray[np.int32]
    rows: NDArray[np.int32]
    sources: NDArray[np.int32]


def pack(layer: Convolution, source: Geometry, form: int, tile: int, chunks: int) -> Packed:
    """Return the weights of a layer for one form of its kernel.

    Args:
        layer: the layer with its weights.
        source: the geometry of its input.
        form: one of the forms of :mod:`.operations`.
        tile: the vectors in a row of the panel.
        chunks: into how many tasks the rows are split.
    """
    weight = layer.weight.numpy().reshape(len(layer.weight), -1)
    offsets = _source_offsets(layer, source)
    if form == DIRECT_SPARSE:
        return _direct(layer, weight, offsets)
    in_place = form in (IN_PLACE_SPARSE, IN_PLACE_DENSE)
    size = IN_PLACE_CHANNELS if in_place else max(1, PANEL_BYTES // (4 * source.vector_width * tile))
    if form == IN_PLACE_SPARSE:
        size = min(size, 65535 * source.vector_width // source.plane + 1)
    unit = source.plane // source.vector_width if in_place else tile
    parts = _Parts(chunks)
    rows = len(weight) // layer.groups
    for group in range(layer.groups):
        block_rows = slice(group * rows, (group + 1) * rows)
        group_weight = weight[block_rows]
        cuts: Sequence[_Sparse | Floats]
        if form in (PANEL_SPARSE, IN_PLACE_SPARSE):
            columns, cuts = _sparse_cuts(group_weight, size, every_column=in_place)
        else:
            columns = np.arange(group_weight.shape[1])
            cuts = [_by_threes(group_weight[:, i : i + size]) for i in range(0, len(columns), size)]
        for i, cut in enumerate(cuts):
            sources = offsets[group][columns[i * size : (i + 1) * size]]
            base = 4 * int(sources[0]) if in_place else 0
            parts.add(cut, sources, block_rows, base, (i == 0, i == len(cuts) - 1), unit)
    return parts.packed(form)


@dataclass
class _Sparse:
    """Some columns of a sparse matrix: the values row by row, the column of each, and how many are in each row."""

    values: Floats
    columns: Ints
    counts: Ints

    def sorted(self, chunks: int) -> tuple[_Sparse, Ints]:
        """Return the same with each ``SORTED_ROWS`` rows of a chunk in the order of their lengths, and that order."""
        row = np.arange(len(self.counts))
        starts = first_row(len(row), np.arange(chunks), chunks)
        chunk = np.searchsorted(starts, row, side="right") - 1
        order = np.lexsort((self.counts, (row - starts[chunk]) // SORTED_ROWS, chunk))
        counts = self.counts[order]
        start_after, start_before = np.cumsum(counts) - counts, (np.cumsum(self.counts) - self.counts)[order]
        origin = np.arange(len(self.values)) + np.repeat(start_before - start_after, counts)
        return _Sparse(self.values[origin], self.columns[origin], counts), order


def _sparse_cuts(weight: Floats, size: int, *, every_column: bool) -> tuple[Ints, list[_Sparse]]:
    """Return the columns that are read, and the matrix in one or more cuts of ``size`` columns, which may be empty."""
    height, width = weight.shape
    positions = np.flatnonzero(weight != 0)
    row = positions // width
    column, columns = positions - row * width, np.arange(width)
    if not every_column:
        used = np.bincount(column, minlength=width) > 0
        column, columns = (np.cumsum(used) - 1)[column], np.flatnonzero(used)
    number = max(1, -(-len(columns) // size))
    cut = column // size
    order = np.argsort(cut.astype(np.uint16), kind="stable")
    values, column = weight.reshape(-1)[positions[order]], (column - cut * size)[order]
    counts = np.bincount(cut * height + row, minlength=number * height).reshape(number, height)
    ends = np.cumsum(counts.sum(1))[:-1]
    return columns, list(map(_Sparse, np.split(values, ends), np.split(column, ends), counts))


def _source_offsets(layer: Convolution, source: Geometry) -> Ints:
    """Return where each column of weights reads, as (groups, columns), in floats from the first pixel of the map."""
    _, channels, height, width = layer.weight.shape
    down = np.arange(height) * layer.dilation[0] - layer.padding[0]
    right = np.arange(width) * layer.dilation[1] - layer.padding[1]
    taps = down[:, None] * source.row + right
    planes = np.arange(layer.groups * channels) * source.plane
    return (planes[:, None, None] + taps).reshape(layer.groups, -1)


class _Parts:
    """The blocks of a layer as they are added, and the arrays that they point into."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks
        self.blocks: list[tuple[int, ...]] = []
        self.values: list[Floats] = []
        self.index: list[NDArray[np.uint16]] = []
        self.pointers: list[Ints] = []
        self.rows: list[Ints] = []
        self.sources: list[Ints] = []
        self.sizes = {"values": 0, "pointers": 0, "sources": 0}

    def add(
        self, part: _Sparse | Floats, sources: Ints, rows: slice, base: int, ends: tuple[bool, bool], unit: int
    ) -> None:
        """Add a block.

        Args:
            part: sparse or dense weights.
            sources: where each of its columns reads.
            rows: its rows in the matrix.
            base: where its first source is in the map, in bytes, if it is read in place.
            ends: whether it is the first block of its rows, and the last one.
            unit: how many vectors the sources of sparse weights are apart.
        """
        sizes = self.sizes
        begins = (sizes["pointers"], sizes["values"])
        block = (sizes["sources"], len(sources), rows.start, rows.stop, *begins, base, *ends)
        self.blocks.append(tuple(map(int, block)))
        if isinstance(part, _Sparse):
            part, order = part.sorted(self.chunks)
            self.rows.append(np.append(rows.start + order, 0))
            self.index.append((part.columns * unit).astype(np.uint16))
            self.pointers.append(sizes["values"] + np.concatenate([[0], np.cumsum(part.counts)]))
            sizes["pointers"] += len(part.counts) + 1
        values = part.values if isinstance(part, _Sparse) else part
        self.values.append(values)
        self.sources.append(sources)
        sizes["values"] += len(values)
        sizes["sources"] += len(sources)

    def packed(self, form: int) -> Packed:
        """Return all blocks."""
        index = np.concatenate(self.index) if self.index else np.zeros(0, np.uint16)
        pointers = np.concatenate(self.pointers) if self.pointers else np.zeros(0, np.int64)
        rows = np.concatenate([*self.rows, np.zeros(ROWS_AHEAD, np.int64)])
        return Packed(
            form,
            np.array(self.blocks, BLOCK),
            np.ascontiguousarray(np.concatenate(self.values), np.float32),
            index,
            pointers.astype(np.int32),
            rows.astype(np.int32),
            np.concatenate(self.sources).astype(np.int32),
        )


def _by_threes(weight: Floats) -> Floats:
    """Return the weights of rows three by three, in the order (group, source, row), then those of other rows."""
    whole = len(weight) // DENSE_ROWS * DENSE_ROWS
    threes = weight[:whole].reshape(-1, DENSE_ROWS, weight.shape[1]).transpose(0, 2, 1)
    return np.concatenate([threes.reshape(-1), weight[whole:].reshape(-1)])


def _direct(layer: Convolution, weight: Floats, offsets: Ints) -> Packed:
    """Return the weights for the kernel that reads its sources in the map, wherever they begin."""
    row, column = np.divmod(np.flatnonzero(weight != 0), weight.shape[1])
    group = row // (len(weight) // layer.groups)
    pointers = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(weight)))])
    block = (0, 0, 0, len(weight), 0, 0, 0, 1, 1)
    return Packed(
        DIRECT_SPARSE,
        np.array([block], BLOCK),
        np.ascontiguousarray(weight[row, column]),
        offsets[group, column].astype(np.int32),
        pointers.astype(np.int32),
        np.pad(np.arange(len(weight), dtype=np.int32), (0, ROWS_AHEAD)),
        np.zeros(0, np.int32),
    )
