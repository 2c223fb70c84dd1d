"""Graphs over the patches of one slide."""
