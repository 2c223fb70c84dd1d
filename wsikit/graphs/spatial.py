"""Join patches that lie side by side: the 8 neighbours on the slide's patch grid."""

from __future__ import annotations

import numpy as np

from wsikit.errors import WsikitError
from wsikit.graphs.edges import Int64Array, both_ways

AHEAD = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Half of the 8 neighbours, as (rows, columns) away; the others are these the other way round."""


def spatial_edges(rowcol: Int64Array) -> Int64Array:
    """Join every patch to those among its 8 neighbours on the grid that are foreground.

    Args:
        rowcol: (N, 2) int64, row and column in the slide's grid, each place once.

    Returns:
        edge_index, (2, E) int64, both directions, sorted by (source, target). A patch without
        foreground beside it has no edge.

    Raises:
        WsikitError: two patches lie at one place.
    """
    count = len(rowcol)
    if count == 0:
        return np.empty((2, 0), np.int64)
    row, col = (rowcol - rowcol.min(axis=0)).T
    width = int(col.max()) + 3  # a free column at either side, so that rows do not touch
    place = row * width + col + 1
    order = np.argsort(place, kind="stable")
    taken = place[order]
    _check_once(taken, order, rowcol)
    found = []
    for rows_on, cols_on in AHEAD:
        sought = place + rows_on * width + cols_on
        at = np.minimum(np.searchsorted(taken, sought), count - 1)
        here = np.flatnonzero(taken[at] == sought)
        found.append(np.stack([here, order[at[here]]]))
    return both_ways(np.concatenate(found, axis=1), count)


def _check_once(taken: Int64Array, order: Int64Array, rowcol: Int64Array) -> None:
    again = np.flatnonzero(np.diff(taken) == 0)
    if len(again):
        first, second = sorted(order[again[0] : again[0] + 2].tolist())
        place = f"row {rowcol[first, 0]}, column {rowcol[first, 1]}"
        raise WsikitError(
            f"patches {first} and {second} lie at one place of the grid ({place}), so none has 8 "
            "neighbours",
            "build a graph of kind knn",
        )
