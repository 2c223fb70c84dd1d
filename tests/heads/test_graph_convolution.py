from __future__ import annotations

import torch

from tests.conformance.head_conformance import ring_bag
from wsikit.heads.graph_convolution import graph_convolution


def test_against_the_dense_formula() -> None:
    torch.manual_seed(0)
    layer = graph_convolution(12, 5)
    bag = ring_bag(9)
    assert bag.edge_index is not None
    kept = ~(bag.edge_index == 4).any(dim=0)  # node 4 has no edge; the others differ in degree
    edges = bag.edge_index[:, kept]

    adjacency = torch.eye(9)
    adjacency[edges[1], edges[0]] = 1
    half = adjacency.sum(1).rsqrt().diag()
    weights = dict(layer.named_parameters())
    dense = half @ adjacency @ half @ bag.features @ weights["lin.weight"].T + weights["bias"]

    torch.testing.assert_close(layer(bag.features, edges), dense)
