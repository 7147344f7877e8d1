"""How a convolution or linear layer runs: as which operation, with its weights in which form."""

from __future__ import annotations

import numpy as np

from ..graph.layers import Convolution
from ..kernels import operations as o
from ..kernels.processor import looks_up
from ..kernels.tiles import MAX_TILE
from .convolution_weights import pack
from .dot_weights import lookups, rows
from .layout import Places
from .program_builder import Program

DIRECT_UP_TO = 2.5  # readers of a source below which copying it does not pay
IN_PLACE = (o.PLACE_SPARSE, o.PLACE_DENSE)


def add_convolution(program: Program, places: Places, layer: Convolution, *, dense: bool, threads: int) -> None:
    """Write the operation of a layer.

    Args:
        program: to write it to.
        places: of the layer's inputs and output.
        layer: with its weights.
        dense: whether zeros among them are kept.
        threads: that share the work.
    """
    if _is_dot(layer, places):
        _add_dot(program, places, layer, dense, threads)
        return
    source, target = places.geometry(layer.source), places.geometry(layer.output)
    lanes = places.lanes
    form = _form(layer, source == target, dense)
    wide = MAX_TILE if not dense or lanes != 8 else 4  # AVX has half the registers
    tiles = -(-target.vectors // wide)
    if tiles > 1:
        tiles = min(-(-tiles // threads) * threads, target.vectors)  # as many for each thread
    tile = -(-target.vectors // tiles)
    chunks = _chunks(layer, tiles, form, threads)
    packed = pack(layer, source, form, tile, chunks)
    panel = 4 * lanes * tile
    program.need_scratch(panel * (int(packed.blocks["count"].max()) + 2))
    table = sum(map(len, program.blocks))
    program.blocks.append(packed.blocks)
    program.emit_weighted(
        layer.name,
        o.CONVOLUTION,
        tiles * chunks,
        places.source(layer.source),
        places.target(layer.output),
        places.other(layer.residual),
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
    same = same_size and layer.stride == (1, 1)
    if same and layer.weight.shape[2:] == (1, 1) and layer.padding == (0, 0):
        return o.PLACE_DENSE if dense else o.PLACE_SPARSE
    if same and len(layer.weight) / layer.groups * layer.density < DIRECT_UP_TO:
        return o.DIRECT_SPARSE
    return o.PANEL_DENSE if dense else o.PANEL_SPARSE


def _chunks(layer: Convolution, tiles: int, form: int, threads: int) -> int:
    """Into how many tasks the output channels of a tile are split."""
    copies = form in (o.PANEL_SPARSE, o.PANEL_DENSE)
    wanted = threads if copies else 4 * threads
    chunks = max(1, -(-wanted // tiles)) if threads > 1 else 1
    return min(chunks, max(1, len(layer.weight) // layer.groups // 8))


def _chain(program: Program) -> None:
    """Let the last two operations go over their map together, if each needs no other pixels than it makes.

    What one has written to large maps, the other then finds in the cache.
    """
    pair = program.operations[-2:]
    tile_by_tile = all(op["kind"] == o.CONVOLUTION and op["form"] in IN_PLACE and op["chunks"] == 1 for op in pair)
    if len(pair) == 2 and tile_by_tile and all(pair[0][name] == pair[1][name] for name in ("tiles", "mask")):
        pair[0]["chained"] = 1


def _is_dot(layer: Convolution, places: Places) -> bool:
    g = places.geometry(layer.source)
    alone = g.images == g.height == g.width == layer.groups == 1 and layer.residual is None
    return alone and layer.weight.shape[2:] == (1, 1) and layer.padding == (0, 0) and layer.weight.shape[1] < 2**16


def _add_dot(program: Program, places: Places, layer: Convolution, dense: bool, threads: int) -> None:
    weight, lanes = layer.weight.numpy()[:, :, 0, 0], places.lanes
    form = o.PLACE_DENSE if dense else o.LOOKUP_SPARSE if looks_up(lanes) else o.PLACE_SPARSE
    values, index, pointers = lookups(weight, lanes) if form == o.LOOKUP_SPARSE else rows(weight, dense, beyond=lanes)
    program.need_scratch(4 * (weight.shape[1] + 3 * lanes))
    program.emit_weighted(
        layer.name,
        o.DOT,
        min(len(weight), threads) if values.size > 8192 else 1,
        places.source(layer.source),
        places.target(layer.output),
        source_width=weight.shape[1],
        form=form,
        values=program.address(values),
        index=program.address(index),
        pointers=program.address(pointers),
        bias=program.address(np.pad(layer.bias.numpy(), (0, lanes))),
        relu=layer.relu,
    )
