"""Hand a graph to torch-geometric."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wsikit.errors import UsageError
from wsikit.graphs.edges import Int64Array
from wsikit.types import FloatArray

if TYPE_CHECKING:
    from torch_geometric.data import Data


def graph_data(
    features: NDArray[np.floating[Any]],
    edge_index: Int64Array,
    distance: FloatArray,
    xy_l0: NDArray[np.integer[Any]],
) -> Data:
    """Return a slide's graph as torch-geometric has it.

    Args:
        features: (N, D) float16 or float32.
        edge_index: (2, E) int64, source and target patch.
        distance: (E,) float32, feature distance of each edge's ends.
        xy_l0: (N, 2) integers, x and y of each patch's top left corner in level-0 px.

    Returns:
        `Data` with x (N, D) float32, edge_index (2, E) int64, edge_attr (E, 1) float32 (the
        distance; larger is less alike, so not a weight as it stands) and pos (N, 2) float32, in
        level-0 px, exact up to 16 million.

    Raises:
        UsageError: the arrays do not fit each other, or an edge names a patch that is not there.

    Example:
        >>> import numpy as np
        >>> edges, far = np.array([[0, 1], [1, 0]]), np.ones(2, np.float32)
        >>> graph_data(np.eye(2, dtype=np.float32), edges, far, np.array([[0, 0], [512, 0]]))
        Data(x=[2, 2], edge_index=[2, 2], edge_attr=[2, 1], pos=[2, 2])
    """
    _check(len(features), edge_index, distance, xy_l0)
    import torch

    # As in heads.graph_convolution: slow to import, and it calls what newer torch warns of.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)
        from torch_geometric.data import Data

    return Data(
        x=torch.from_numpy(features.astype(np.float32)),
        edge_index=torch.from_numpy(edge_index.astype(np.int64)),
        edge_attr=torch.from_numpy(distance.astype(np.float32)[:, None]),
        pos=torch.from_numpy(xy_l0.astype(np.float32)),
    )


def _check(
    count: int, edge_index: Int64Array, distance: FloatArray, xy_l0: NDArray[np.integer[Any]]
) -> None:
    edges = edge_index.shape[1]
    if len(distance) != edges or len(xy_l0) != count:
        raise UsageError(
            f"{edges} edges with {len(distance)} distances, "
            f"{count} patches with {len(xy_l0)} places",
            "give one distance an edge and one place a patch",
        )
    if edges and not 0 <= edge_index.min() <= edge_index.max() < count:
        raise UsageError(
            f"an edge names patch {edge_index.max()}, but there are {count} patches",
            "run wsikit graph with --overwrite",
        )
