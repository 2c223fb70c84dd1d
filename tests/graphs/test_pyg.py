"""The graph as torch-geometric has it."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch

from tests.graphs.feature_sets import encoder_like
from wsikit.errors import UsageError
from wsikit.graphs import graph_data, knn, pyg
from wsikit.graphs.knn import knn_graph


def test_it_holds_what_it_was_given() -> None:
    features = encoder_like(50, 16).astype(np.float16)
    xy = np.stack([np.arange(50) * 300, 16_000_001 - np.arange(50)], axis=1).astype(np.int32)
    edges, distance = knn_graph(features, 4)
    data = graph_data(features, edges, distance, xy)
    assert data.validate()
    assert (data.num_nodes, data.num_edges) == (50, edges.shape[1])
    assert data.is_undirected()
    assert not data.has_self_loops()
    assert data.is_sorted(sort_by_row=True)
    assert (data.x.dtype, data.edge_index.dtype) == (torch.float32, torch.int64)
    np.testing.assert_array_equal(data.x, features)
    np.testing.assert_array_equal(data.pos, xy)
    ends = data.x[data.edge_index]
    torch.testing.assert_close(data.edge_attr[:, 0], (ends[0] - ends[1]).norm(dim=1))


def test_a_directed_graph_gathers_each_patchs_own_neighbours() -> None:
    from torch_geometric.nn.conv import SimpleConv
    from torch_geometric.utils import degree

    features = encoder_like(60, 16)
    edges, distance = knn_graph(features, 4, symmetrise=False)
    data = graph_data(features, edges, distance, np.zeros((60, 2), np.int32))
    assert (degree(data.edge_index[1], 60) == 4).all()
    nearest = np.argsort(((features[:, None] - features[None]) ** 2).sum(2), axis=1)[:, 1:5]
    mean = SimpleConv(aggr="mean")(data.x, data.edge_index)
    torch.testing.assert_close(mean, data.x[torch.from_numpy(nearest)].mean(1))


def test_an_empty_slide_and_a_single_patch() -> None:
    for count in (0, 1):
        features = np.ones((count, 8), np.float32)
        edges, distance = knn_graph(features, 8)
        data = graph_data(features, edges, distance, np.zeros((count, 2), np.int32))
        assert (data.num_nodes, data.num_edges) == (count, 0)
        assert data.validate()


@pytest.mark.parametrize(
    ("edges", "distances", "places", "said"),
    [
        ([[0, 1], [1, 0]], 1, 3, "2 edges with 1 distances"),
        ([[0, 1], [1, 0]], 2, 2, "3 patches with 2 places"),
        ([[0, 3], [1, 0]], 2, 3, "names patch 3, but there are 3"),
        ([[0, -1], [1, 0]], 2, 3, "there are 3 patches"),
    ],
)
def test_what_does_not_fit_is_refused(
    edges: list[list[int]], distances: int, places: int, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        graph_data(
            np.ones((3, 4), np.float32),
            np.array(edges),
            np.ones(distances, np.float32),
            np.zeros((places, 2), np.int32),
        )


def test_the_examples_run() -> None:
    for module in (pyg, knn):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0
