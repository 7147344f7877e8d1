"""The operations of convolutions and linear layers: of which kind they are, and in which form their weights are."""

from __future__ import annotations

import numpy as np

from ..graph.layers import Convolution
from ..kernels import operations as o
from ..kernels.processor import has_lookup
from ..kernels.tiles import MAX_TILE
from .convolution_weights import pack
from .dot_weights import lookups, rows
from .layout import Layout
from .program_builder import ProgramBuilder

DIRECT_BELOW = 2.5  # output channels that read a source; below, copying the source does not pay
IN_PLACE = (o.IN_PLACE_SPARSE, o.IN_PLACE_DENSE)


def add_convolution(program: ProgramBuilder, layout: Layout, layer: Convolution, *, dense: bool, threads: int) -> None:
    """Write the operation of a layer.

    Args:
        program: the program that it is written to.
        layout: where the layer's inputs and output are.
        layer: the layer with its weights.
        dense: whether zeros among the weights are kept.
        threads: how many threads share the work.
    """
    if _is_dot(layer, layout):
        _add_dot(program, layout, layer, dense, threads)
        return
    source, target = layout.geometry(layer.source), layout.geometry(layer.output)
    vector_width = layout.vector_width
    form = _form(layer, source == target, dense)
    tiles = _tiles(target.vectors, vector_width, dense, threads)
    tile = -(-target.vectors // tiles)
    chunks = _chunks(layer, tiles, form, threads)
    packed = pack(layer, source, form, tile, chunks)
    panel = 4 * vector_width * tile
    program.need_scratch(panel * (int(packed.blocks["count"].max()) + 2))
    table = sum(map(len, program.blocks))
    program.blocks.append(packed.blocks)
    program.emit_weighted(
        layer.name,
        o.CONVOLUTION,
        tiles * chunks,
        layout.source(layer.source),
        layout.target(layer.output),
        layout.other(layer.residual),
        tiles=tiles,
        chunks=chunks,
        form=form,
        table=table,
        blocks=len(packed.blocks),
        values=program.address(packed.values),
        index=program.address(packed.index),
        pointers=program.address(packed.pointers),
        rows=program.address(packed.rows),
        sources=program.address(packed.sources),
        panel=panel,
        same=source == target and layer.stride == (1, 1),
        stride_down=layer.stride[0],
        stride=layer.stride[1],
        bias=program.address(layer.bias),
        relu=layer.relu,
    )
    _chain(program)


def _form(layer: Convolution, same_size: bool, dense: bool) -> int:
    """Return the form in which the kernel reads the weights and the map of a layer."""
    same = same_size and layer.stride == (1, 1)
    if same and layer.weight.shape[2:] == (1, 1) and layer.padding == (0, 0):
        return o.IN_PLACE_DENSE if dense else o.IN_PLACE_SPARSE
    if same and len(layer.weight) / layer.groups * layer.density < DIRECT_BELOW:
        return o.DIRECT_SPARSE
    return o.PANEL_DENSE if dense else o.PANEL_SPARSE


def _tiles(vectors: int, vector_width: int, dense: bool, threads: int) -> int:
    """Return into how many tiles the vectors of a plane are split: as many for each thread."""
    largest = MAX_TILE if not dense or vector_width != 8 else 4  # AVX has half the registers of AVX-512
    tiles = -(-vectors // largest)
    return min(-(-tiles // threads) * threads, vectors) if tiles > 1 else tiles


def _chunks(layer: Convolution, tiles: int, form: int, threads: int) -> int:
    """Return into how many tasks the output channels of a tile are split."""
    copies = form in (o.PANEL_SPARSE, o.PANEL_DENSE)
    wanted = threads if copies else 4 * threads
    chunks = max(1, -(-wanted // tiles)) if threads > 1 else 1
    return min(chunks, max(1, len(layer.weight) // layer.groups // 8))


def _chain(program: ProgramBuilder) -> None:
    """Let the last two operations go over their maps together, if each reads no other pixels than it makes.

    The second then finds in the cache what the first has written, also where maps are large.
    """
    pair = program.operations[-2:]
    tile_by_tile = all(op["kind"] == o.CONVOLUTION and op["form"] in IN_PLACE and op["chunks"] == 1 for op in pair)
    if len(pair) == 2 and tile_by_tile and all(pair[0][name] == pair[1][name] for name in ("tiles", "mask")):
        pair[0]["chained"] = 1


def _is_dot(layer: Convolution, layout: Layout) -> bool:
    """Return whether a layer is a product of a matrix and one vector."""
    g = layout.geometry(layer.source)
    alone = g.images == g.height == g.width == layer.groups == 1 and layer.residual is None
    return alone and layer.weight.shape[2:] == (1, 1) and layer.padding == (0, 0) and layer.weight.shape[1] < 2**16


def _add_dot(program: ProgramBuilder, layout: Layout, layer: Convolution, dense: bool, threads: int) -> None:
    """Write the operation of a linear layer for one image."""
    weight, vector_width = layer.weight.numpy()[:, :, 0, 0], layout.vector_width
    form = o.IN_PLACE_DENSE if dense else o.LOOKUP_SPARSE if has_lookup(vector_width) else o.IN_PLACE_SPARSE
    values, index, pointers = (
        lookups(weight, vector_width) if form == o.LOOKUP_SPARSE else rows(weight, dense, beyond=vector_width)
    )
    program.need_scratch(4 * (weight.shape[1] + 3 * vector_width))
    program.emit_weighted(
        layer.name,
        o.DOT,
        min(len(weight), threads) if values.size > 8192 else 1,
        layout.source(layer.source),
        layout.target(layer.output),
        source_width=weight.shape[1],
        form=form,
        values=program.address(values),
        index=program.address(index),
        pointers=program.address(pointers),
        bias=program.address(np.pad(layer.bias.numpy(), (0, vector_width))),
        relu=layer.relu,
    )
