"""Weights of a convolution in the order in which the kernels read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..graph.layers import Convolution
from ..kernels.operations import BLOCK, DIRECT_SPARSE, PANEL_SPARSE, PLACE_DENSE, PLACE_SPARSE, ROWS_AHEAD
from ..kernels.tiles import DENSE_ROWS, first_row
from .buffers import Geometry

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

PANEL_BYTES = 2**16  # of a tile's sources that stay in the cache while all rows read them
PLACE_CHANNELS = 256
SORTED_ROWS = 64  # neighbours that are done in the order of their lengths, as a processor foresees ends of equal loops


@dataclass
class Packed:
    """Weights of one form: see :data:`.operations.OPERATION` and :data:`.operations.BLOCK`."""

    form: int
    blocks: NDArray[np.void]
    values: Floats
    index: NDArray[np.uint16] | NDArray[np.int32]
    pointers: NDArray[np.int32]
    rows: NDArray[np.int32]
    sources: NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self.values, self.index, self.pointers, self.rows, self.sources))


def pack(layer: Convolution, source: Geometry, form: int, tile: int, chunks: int) -> Packed:
    """The weights of a layer for one form of its kernel.

    Args:
        layer: with its weights.
        source: of its input.
        form: one of the forms of :mod:`.operations`.
        tile: vectors in a row of the panel.
        chunks: into how many tasks the rows are split.
    """
    weight = layer.weight.numpy().reshape(len(layer.weight), -1)
    places = _places(layer, source)
    if form == DIRECT_SPARSE:
        return _direct(layer, weight, places)
    in_place = form in (PLACE_SPARSE, PLACE_DENSE)
    size = PLACE_CHANNELS if in_place else max(1, PANEL_BYTES // (4 * source.lanes * tile))
    if form == PLACE_SPARSE:
        size = min(size, 65535 * source.lanes // source.plane + 1)
    unit = source.plane // source.lanes if in_place else tile
    parts = _Parts(chunks)
    rows = len(weight) // layer.groups
    for group in range(layer.groups):
        block_rows = slice(group * rows, (group + 1) * rows)
        mine = weight[block_rows]
        cuts: Sequence[_Sparse | Floats]
        if form in (PANEL_SPARSE, PLACE_SPARSE):
            columns, cuts = _sparse_cuts(mine, size, every_column=in_place)
        else:
            columns = np.arange(mine.shape[1])
            cuts = [_by_threes(mine[:, i : i + size]) for i in range(0, len(columns), size)]
        for i, cut in enumerate(cuts):
            sources = places[group][columns[i * size : (i + 1) * size]]
            base = 4 * int(sources[0]) if in_place else 0
            parts.add(cut, sources, block_rows, base, (i == 0, i == len(cuts) - 1), unit)
    return parts.packed(form)


@dataclass
class _Sparse:
    """Some columns of a matrix: values row by row, the column of each, and how many are in each row."""

    values: Floats
    columns: Ints
    counts: Ints

    def sorted(self, chunks: int) -> tuple[_Sparse, Ints]:
        """The same with each ``SORTED_ROWS`` rows of a chunk in the order of their lengths, and which rows they are."""
        row = np.arange(len(self.counts))
        starts = first_row(len(row), np.arange(chunks), chunks)
        chunk = np.searchsorted(starts, row, side="right") - 1
        order = np.lexsort((self.counts, (row - starts[chunk]) // SORTED_ROWS, chunk))
        counts = self.counts[order]
        here, there = np.cumsum(counts) - counts, (np.cumsum(self.counts) - self.counts)[order]
        moved = np.arange(len(self.values)) + np.repeat(there - here, counts)
        return _Sparse(self.values[moved], self.columns[moved], counts), order


def _sparse_cuts(weight: Floats, size: int, *, every_column: bool) -> tuple[Ints, list[_Sparse]]:
    """Columns that are read, and the matrix in cuts of ``size`` of them; at least one, which may be empty."""
    height, width = weight.shape
    found = np.flatnonzero(weight != 0)
    row = found // width
    place, columns = found - row * width, np.arange(width)
    if not every_column:
        used = np.bincount(place, minlength=width) > 0
        place, columns = (np.cumsum(used) - 1)[place], np.flatnonzero(used)
    number = max(1, -(-len(columns) // size))
    cut = place // size
    order = np.argsort(cut.astype(np.uint16), kind="stable")
    values, place = weight.reshape(-1)[found[order]], (place - cut * size)[order]
    counts = np.bincount(cut * height + row, minlength=number * height).reshape(number, height)
    ends = np.cumsum(counts.sum(1))[:-1]
    return columns, list(map(_Sparse, np.split(values, ends), np.split(place, ends), counts))


def _places(layer: Convolution, source: Geometry) -> Ints:
    """Where each column of the weights reads, (groups, columns), in floats from the first pixel of the map."""
    _, channels, height, width = layer.weight.shape
    down = np.arange(height) * layer.dilation[0] - layer.padding[0]
    right = np.arange(width) * layer.dilation[1] - layer.padding[1]
    taps = down[:, None] * source.row + right
    planes = np.arange(layer.groups * channels) * source.plane
    return (planes[:, None, None] + taps).reshape(layer.groups, -1)


class _Parts:
    """Blocks as they come."""

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
        self, part: _Sparse | Floats, places: Ints, rows: slice, base: int, ends: tuple[bool, bool], unit: int
    ) -> None:
        """A block of sparse or dense weights; sources of sparse ones are ``unit`` vectors apart."""
        first, last = ends
        sizes = self.sizes
        block = (
            sizes["sources"],
            len(places),
            rows.start,
            rows.stop,
            sizes["pointers"],
            sizes["values"],
            base,
            first,
            last,
        )
        self.blocks.append(tuple(map(int, block)))
        if isinstance(part, _Sparse):
            part, order = part.sorted(self.chunks)
            self.rows.append(np.append(rows.start + order, 0))
            self.index.append((part.columns * unit).astype(np.uint16))
            self.pointers.append(sizes["values"] + np.concatenate([[0], np.cumsum(part.counts)]))
            sizes["pointers"] += len(part.counts) + 1
        values = part.values if isinstance(part, _Sparse) else part
        self.values.append(values)
        self.sources.append(places)
        sizes["values"] += len(values)
        sizes["sources"] += len(places)

    def packed(self, form: int) -> Packed:
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
    """Rows three by three, (group, source, row), then the rest row by row."""
    whole = len(weight) // DENSE_ROWS * DENSE_ROWS
    threes = weight[:whole].reshape(-1, DENSE_ROWS, weight.shape[1]).transpose(0, 2, 1)
    return np.concatenate([threes.reshape(-1), weight[whole:].reshape(-1)])


def _direct(layer: Convolution, weight: Floats, places: Ints) -> Packed:
    row, column = np.divmod(np.flatnonzero(weight != 0), weight.shape[1])
    group = row // (len(weight) // layer.groups)
    pointers = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(weight)))])
    block = (0, 0, 0, len(weight), 0, 0, 0, 1, 1)
    return Packed(
        DIRECT_SPARSE,
        np.array([block], BLOCK),
        np.ascontiguousarray(weight[row, column]),
        places[group, column].astype(np.int32),
        pointers.astype(np.int32),
        np.pad(np.arange(len(weight), dtype=np.int32), (0, ROWS_AHEAD)),
        np.zeros(0, np.int32),
    )
