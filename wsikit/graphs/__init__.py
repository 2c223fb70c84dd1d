"""Graphs over the patches of one slide."""

from wsikit.graphs.pyg import graph_data

__all__ = ["graph_data"]
