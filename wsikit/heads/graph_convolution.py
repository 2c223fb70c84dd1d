"""The graph convolution of torch-geometric, imported when a head asks for it."""

from __future__ import annotations

import warnings

from torch import nn


def graph_convolution(features_in: int, features_out: int, bias: bool = True) -> nn.Module:
    """Build one GCN layer, H' = D^-1/2 (A + I) D^-1/2 H W + b (Kipf & Welling 2017), no activation.

    Args:
        features_in: width of a node's vector.
        features_out: width of the result.
        bias: whether there is a b.

    Returns:
        A module called with (N, features_in) float32 and edge_index (2, E) int64; gives
        (N, features_out). It never forms an N x N matrix.
    """
    # torch-geometric takes nearly two seconds to import, which other heads need not pay. On import
    # it calls torch.jit.script, which newer torch warns of: a warning for its authors, as nothing
    # of ours goes through torch.jit.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)
        from torch_geometric.nn.conv import GCNConv
    layer: nn.Module = GCNConv(features_in, features_out, bias=bias)
    return layer
