"""What a plan tells the kernels: operations as records of numbers.

A map of activations (channels, images, height, width) is stored channel by channel, in planes. In a plane the images
stand one below the other; rows are ``padding`` floats longer than wide, images as many rows higher, and in all of these
places there are zeros, as before and after a plane. So the window of a padded convolution is the map itself, shifted.
"""

from __future__ import annotations

import numpy as np

# kinds
LOAD, STORE, CONVOLUTION, DOT, AFFINE, MAXIMUM, AVERAGE, MEAN, FLATTEN, RESIZE = range(10)

# how a convolution reads: copies of its windows in a panel, or the map in place; sparse or dense weights; the last is
# for linear layers of one image
PANEL_SPARSE, PLACE_SPARSE, DIRECT_SPARSE, PANEL_DENSE, PLACE_DENSE, LOOKUP_SPARSE = range(6)

_FIELDS = """
    kind tasks
    source source_plane source_row source_rows source_height source_width
    target target_plane target_row target_rows target_height target_width images vectors
    other other_plane channels relu mask bias scale
    tiles chunks form blocks table values index pointers rows sources panel same chained
    stride_down stride kernel_height kernel_width padding_top padding_left
    slot
"""

# Places of maps (source, target, other), planes and panel rows are in bytes, rows in floats; mask, bias, scale, values,
# index, pointers, rows and sources are addresses; ``table`` is the first block; where ``chained`` is
# 1, each task of the next operation comes right after the same task of this one. 0 is none, and for ``other`` -1.
OPERATION = np.dtype([(name, np.int64) for name in _FIELDS.split()])

# A block of a convolution: some sources for some output rows. ``sources``, ``pointers`` (also into ``rows``, the order
# of sparse ones) and ``values`` are where its own begin; ``base`` is where in the map the first source in place is, in
# bytes.
BLOCK = np.dtype(
    [
        (name, np.int64)
        for name in ("sources", "count", "row_start", "row_stop", "pointers", "values", "base", "first", "last")
    ]
)
SEGMENT_BYTES = 4096  # of a worker's scratch, before the panel
# fetched before they come, as the cache does not foresee the way from plane to plane; ``rows`` ends so much later
ROWS_AHEAD = 4
