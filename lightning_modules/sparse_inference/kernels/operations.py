"""The operations of a program: what the kernels are told to do, as records of numbers.

A map of activations (channels, images, height, width) is stored channel by channel, in planes. In a plane the images
stand one below the other. A row is ``padding`` floats longer than the image is wide, an image has as many more rows.
All of this padding holds zeros, as does what lies before and after a plane. So the window of a padded convolution is
the map itself, shifted.
"""

from __future__ import annotations

import numpy as np

# The kinds of operations.
LOAD, STORE, CONVOLUTION, DOT, AFFINE, MAXIMUM, AVERAGE, MEAN, FLATTEN, RESIZE = range(10)

# The forms of a convolution. PANEL forms read copies of the windows in a panel, the others the map itself: IN_PLACE
# forms at offsets of whole vectors, DIRECT_SPARSE anywhere. LOOKUP_SPARSE is for linear layers of one image.
PANEL_SPARSE, IN_PLACE_SPARSE, DIRECT_SPARSE, PANEL_DENSE, IN_PLACE_DENSE, LOOKUP_SPARSE = range(6)

_FIELDS = """
    kind tasks
    source source_plane source_row source_rows source_height source_width
    target target_plane target_row target_rows target_height target_width images vectors
    other other_plane channels relu mask bias scale
    tiles chunks form blocks table values index pointers rows sources panel same chained
    stride_down stride kernel_height kernel_width padding_top padding_left
    slot
"""

# An operation. Where maps begin in the workspace (source, target, other), how far planes are apart and how long a row
# of the panel is are given in bytes, the lengths of rows of maps in floats. The fields mask, bias, scale, values,
# index, pointers, rows and sources are addresses; ``table`` is the number of the first block. Where ``chained`` is 1,
# each task of the next operation comes right after the same task of this one. 0 means that there is none; for ``other``
# it is -1.
OPERATION = np.dtype([(name, np.int64) for name in _FIELDS.split()])

# A block of a convolution: some sources for some output rows. ``sources``, ``pointers`` and ``values`` are where those
# of the block begin in the arrays of the operation; ``pointers`` holds for ``rows`` too, the order in which sparse rows
# are done. ``base`` is where the first source is in the map, in bytes, if sources are read in place.
BLOCK = np.dtype(
    [
        (name, np.int64)
        for name in ("sources", "count", "row_start", "row_stop", "pointers", "values", "base", "first", "last")
    ]
)
SEGMENT_BYTES = 4096  # of a thread's scratch, before the panel
# An output row is fetched so many rows before it is written, as the cache does not foresee the way from plane to plane.
# ``rows`` has so many more entries at its end.
ROWS_AHEAD = 4
